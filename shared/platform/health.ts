import { createServer, type Server } from "node:http";
import type { Registry } from "./metrics.ts";
import type { Problem } from "./problems/problems.ts";

/** `degraded` says what is wrong with the servers that the process needs, whether it still works or not. */
export type Readiness = { ready: boolean; degraded: readonly Problem[]; reason?: string };

/** Serves `/livez`, `/readyz` and `/metrics` of a process that serves nothing else. Port 0 means any free port. */
export async function openHealthServer(options: {
  port: number;
  metrics: Registry;
  readiness: () => Promise<Readiness>;
}): Promise<Server> {
  const server = createServer((request, response) => {
    void respond(request.url ?? "/", options).then(({ status, type, body }) => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, resolve);
  });
  return server;
}

type Reply = { status: number; type: string; body: string };

async function respond(
  url: string,
  options: { metrics: Registry; readiness: () => Promise<Readiness> },
): Promise<Reply> {
  if (url === "/livez") return { status: 200, type: "application/json", body: '{"live":true}' };
  if (url === "/readyz") {
    const readiness = await options
      .readiness()
      .catch((): Readiness => ({ ready: false, degraded: [], reason: "check failed" }));
    return { status: readiness.ready ? 200 : 503, type: "application/json", body: JSON.stringify(readiness) };
  }
  if (url === "/metrics") {
    return { status: 200, type: options.metrics.contentType, body: await options.metrics.metrics() };
  }
  return { status: 404, type: "application/json", body: '{"error":"not found"}' };
}

/** Closes a server and all its connections. */
export async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}
