import { createServer, type Server } from "node:http";
import type { Registry } from "./metrics.ts";

/** `degraded` names what is missing though the process still does its work. */
export type Readiness = { ready: boolean; degraded: string[]; reason?: string };

/** `/livez`, `/readyz` and `/metrics` of a process that serves nothing else. Port 0 takes a free one. */
export async function openHealthServer(options: {
  port: number;
  metrics: Registry;
  readiness: () => Promise<Readiness>;
}): Promise<Server> {
  const server = createServer((request, response) => {
    void answer(request.url ?? "/", options).then(({ status, type, body }) => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, resolve);
  });
  return server;
}

type Answer = { status: number; type: string; body: string };

async function answer(
  url: string,
  options: { metrics: Registry; readiness: () => Promise<Readiness> },
): Promise<Answer> {
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

/** Closes a server and its idle connections. */
export async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}
