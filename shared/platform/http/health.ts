import type { RequestListener, Server } from "node:http";
import type { Registry } from "../metrics.ts";
import { createHttpServer, findRepeatedHeader, listen } from "./http-server.ts";
import type { Problem } from "../problems/problems.ts";

/** `degraded` says what is wrong with the servers that the process needs, whether it still works or not. */
export type Readiness = { ready: boolean; degraded: readonly Problem[]; reason?: string };

/** What reads `/livez`, `/readyz` and `/metrics`: an orchestrator, a monitor, a person. */
const MAX_CONNECTIONS = 100;

export type HealthReply = { status: number; type: string; body: string; allow?: string };

/** All are read only. */
export const HEALTH_PATHS: readonly string[] = ["/livez", "/readyz", "/metrics"];

const JSON_TYPE = "application/json";
export const NOT_FOUND: HealthReply = { status: 404, type: JSON_TYPE, body: '{"error":"not found"}' };
/** For another method of a path of health. */
export const NOT_ALLOWED: HealthReply = {
  status: 405,
  type: "text/plain",
  body: "method not allowed",
  allow: "GET, HEAD",
};
const FULL: HealthReply = { status: 503, type: "text/plain", body: "too many connections" };
const FAILED: HealthReply = { status: 503, type: "text/plain", body: "not available" };
export const REPEATED: HealthReply = { status: 400, type: "text/plain", body: "a header is repeated" };

type HealthOptions = {
  port: number;
  /** Every address of the machine if undefined. */
  host: string | undefined;
  metrics: Registry;
  readiness: () => Promise<Readiness>;
};

/** Serves `/livez`, `/readyz` and `/metrics` of a process that serves nothing else. Port 0 means any free port. */
export async function openHealthServer(options: HealthOptions): Promise<Server> {
  const server = createHttpServer(
    (request, response) => {
      const reply = findRepeatedHeader(request.rawHeaders)
        ? Promise.resolve(REPEATED)
        : respond(request.method ?? "GET", request.url ?? "/", options);
      void reply
        .catch(() => FAILED)
        .then((it) => {
          sendReply(response, it);
        });
    },
    {
      maxConnections: MAX_CONNECTIONS,
      onFull: (_request, response) => {
        sendReply(response, FULL);
      },
    },
  );
  await listen(server, options);
  return server;
}

/** Sends a reply; of one to HEAD, Node leaves the body out. */
export function sendReply(
  response: Parameters<RequestListener>[1],
  { status, type, body, allow }: HealthReply,
): void {
  response
    .writeHead(status, {
      "content-type": type,
      "content-length": Buffer.byteLength(body),
      "cache-control": "no-store",
      ...(allow === undefined ? {} : { allow }),
    })
    .end(body);
}

/** The path of a request's target, as it was sent. */
export function pathOf(target: string): string {
  return target.split("?", 1)[0] ?? target;
}

async function respond(method: string, target: string, options: HealthOptions): Promise<HealthReply> {
  const path = pathOf(target);
  if (!HEALTH_PATHS.includes(path)) return NOT_FOUND;
  if (!isRead(method)) return NOT_ALLOWED;
  if (path === "/livez") return { status: 200, type: JSON_TYPE, body: '{"live":true}' };
  if (path === "/metrics") {
    return { status: 200, type: options.metrics.contentType, body: await options.metrics.metrics() };
  }
  const readiness = await options
    .readiness()
    .catch((): Readiness => ({ ready: false, degraded: [], reason: "check failed" }));
  return { status: readiness.ready ? 200 : 503, type: JSON_TYPE, body: JSON.stringify(readiness) };
}

/** Whether a method only reads. */
export function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
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
