import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";
import { createFaults, type FaultKind, type Faults } from "./faults.ts";
import { ROUTES } from "./routes.ts";
import { HomeserverState, Refusal } from "./state.ts";

/** A homeserver that keeps everything in memory, records its requests and fails on demand. */
export type StandIn = {
  url: string;
  serverName: string;
  asToken: string;
  state: HomeserverState;
  faults: Faults;
  /** Breaks every connection and accepts no new one. */
  stop: () => Promise<void>;
  /** Starts again on the same port with the same state. */
  start: () => Promise<void>;
};

export type StandInOptions = { serverName: string; asToken: string; random: Random; sendMs?: number };

/** Opens a stand-in on a free port. `sendMs`: how long it takes for a send. */
export async function openStandIn({
  serverName,
  asToken,
  random,
  sendMs = 0,
}: StandInOptions): Promise<StandIn> {
  const state = new HomeserverState(serverName);
  const faults = createFaults(random);
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let port = 0;
  const start = async () => {
    const started = createServer((request, response) => {
      answer({ state, faults, asToken, sendMs }, request, response).catch(() => request.socket.destroy());
    });
    started.keepAliveTimeout = 30_000;
    started.on("connection", (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    started.listen(port, "127.0.0.1");
    await once(started, "listening");
    const address = started.address();
    port = typeof address === "object" && address ? address.port : port;
    server = started;
  };
  await start();
  return {
    url: `http://127.0.0.1:${String(port)}`,
    serverName,
    asToken,
    state,
    faults,
    start,
    stop: async () => {
      const stopped = server;
      server = null;
      if (!stopped) return;
      for (const socket of sockets) socket.resetAndDestroy();
      stopped.close();
      await once(stopped, "close");
    },
  };
}

type Deps = { state: HomeserverState; faults: Faults; asToken: string; sendMs: number };

async function answer(deps: Deps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://stand-in");
  const body = await readBody(request);
  const path = `${request.method ?? ""} ${decodeURIComponent(url.pathname)}`;
  const userId = url.searchParams.get("user_id");
  const fault = deps.faults.choose({ path, body, userId });
  if (fault && (await failBefore(fault, request, response))) return;
  if (deps.sendMs > 0 && path.includes("/send/")) await sleep(deps.sendMs);
  const { status, content } = await run(deps, request, url, body, closedSignal(response));
  if (fault?.do === "lose the answer") request.socket.resetAndDestroy();
  else if (fault?.do === "hang in body") await hangInBody(response, status, content, fault.ms);
  else response.writeHead(status, { "content-type": "application/json" }).end(content);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

/** Runs the faults that come before a request is applied. Returns whether the request ended with it. */
async function failBefore(
  fault: FaultKind,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const refuse = (status: number, content: Record<string, unknown>, headers: Record<string, string> = {}) => {
    response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(JSON.stringify(content));
    return true;
  };
  switch (fault.do) {
    case "limit":
      return refuse(
        429,
        { errcode: "M_LIMIT_EXCEEDED", error: "Too Many Requests", retry_after_ms: fault.retryAfterMs },
        { "retry-after": String(Math.ceil(fault.retryAfterMs / 1_000)) },
      );
    case "refuse":
      return refuse(fault.status, { errcode: fault.errcode, error: "refused" });
    case "html":
      response
        .writeHead(fault.status, { "content-type": "text/html" })
        .end("<html><body><h1>Bad Gateway</h1></body></html>");
      return true;
    case "reset":
      request.socket.resetAndDestroy();
      return true;
    case "hang in head":
      await sleep(fault.ms);
      request.socket.destroy();
      return true;
    case "delay":
      await sleep(fault.ms);
      return false;
    default:
      return false;
  }
}

async function hangInBody(
  response: ServerResponse,
  status: number,
  content: string,
  ms: number,
): Promise<void> {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(content),
  });
  response.write(content.slice(0, Math.floor(content.length / 2)));
  await sleep(ms);
  response.destroy();
}

async function run(
  { state, asToken }: Deps,
  request: IncomingMessage,
  url: URL,
  body: string,
  signal: AbortSignal,
): Promise<{ status: number; content: string }> {
  try {
    const result = await dispatch(state, { asToken, request, url, body, signal });
    return { status: 200, content: JSON.stringify(result) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return {
      status: error.status,
      content: JSON.stringify({ errcode: error.errcode, error: error.message }),
    };
  }
}

/** Aborts when the response is complete or its connection is closed. */
function closedSignal(response: ServerResponse): AbortSignal {
  const closed = new AbortController();
  response.once("close", () => {
    closed.abort();
  });
  return closed.signal;
}

async function dispatch(
  state: HomeserverState,
  {
    asToken,
    request,
    url,
    body,
    signal,
  }: { asToken: string; request: IncomingMessage; url: URL; body: string; signal: AbortSignal },
): Promise<Record<string, unknown>> {
  for (const { method, path, answer: reply } of ROUTES) {
    const match = request.method === method ? path.exec(url.pathname) : null;
    if (!match) continue;
    const isOpen = url.pathname.endsWith("/versions");
    if (!isOpen && request.headers.authorization !== `Bearer ${asToken}`) {
      throw new Refusal(401, "M_UNKNOWN_TOKEN", "Unrecognised access token");
    }
    return reply(state, {
      userId: url.searchParams.get("user_id") ?? `@service:${state.serverName}`,
      deviceId: url.searchParams.get("device_id"),
      params: match.slice(1).map((part) => decodeURIComponent((part as string | undefined) ?? "")),
      query: url.searchParams,
      body: body === "" ? {} : (JSON.parse(body) as Record<string, unknown>),
      signal,
    });
  }
  throw new Refusal(404, "M_UNRECOGNIZED", "Unrecognized request");
}
