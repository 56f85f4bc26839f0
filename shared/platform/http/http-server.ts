import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** How long a client may take for the headers of a request, and for the whole request. */
const HEADERS_LIMIT_MS = 10_000;
const REQUEST_LIMIT_MS = 13_000;
/** How long a client may take to read an answer, beside the time that its bytes take at the slowest speed we serve. */
const ANSWER_LIMIT_MS = 30_000;
const ANSWER_BYTES_PER_MS = 8;
/** How often the limits are checked: a connection lives at most that much longer. */
const CHECK_EVERY_MS = 1_000;
/** Longer than the idle time of common proxies, so that the proxy is the one that ends an idle connection. */
const KEEP_ALIVE_MS = 65_000;
/** Connections beyond the limit that get an answer, as a share of the limit; further ones are cut without one. */
const ANSWERED_SHARE = 0.1;

export type HttpServerOptions = {
  maxConnections: number;
  /** Answers a request on a connection beyond the limit, which ends after it. */
  onFull: RequestListener;
  /** Called for each connection beyond the limit. */
  onRefused?: () => void;
  /** How long a client may take to read an answer, and the speed at which it must read a long one. */
  answerMs?: number;
  answerBytesPerMs?: number;
  /** Whether the caller handles upgrades. Upgraded sockets do not count as connections. */
  upgrades?: boolean;
};

/**
 * A server of plain HTTP that no client can fill by silence: unfinished requests and unread answers end, and the number of
 * connections is bounded.
 */
export function createHttpServer(handle: RequestListener, options: HttpServerOptions): Server {
  const { maxConnections, onFull, onRefused, upgrades = false } = options;
  const connections = new Set<Socket>();
  const beyondLimit = new WeakSet<Socket>();
  const answers = watchAnswers(options);
  const server = createServer(
    {
      headersTimeout: HEADERS_LIMIT_MS,
      requestTimeout: REQUEST_LIMIT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => {
      answers.watch(response);
      if (beyondLimit.has(request.socket) && connections.size > maxConnections) {
        response.setHeader("connection", "close");
        onFull(request, response);
      } else handle(request, response);
    },
  );
  server.on("connection", (socket) => {
    if (connections.size >= maxConnections) {
      onRefused?.();
      // Those that only wait for a next request make room.
      server.closeIdleConnections();
      if (connections.size >= maxConnections * (1 + ANSWERED_SHARE)) {
        socket.destroy();
        return;
      }
      beyondLimit.add(socket);
    }
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });
  if (upgrades) server.on("upgrade", ({ socket }) => connections.delete(socket));
  server.once("listening", answers.start);
  server.once("close", answers.stop);
  return server;
}

/** Cuts connections whose client does not read its answer in time. */
function watchAnswers({
  answerMs = ANSWER_LIMIT_MS,
  answerBytesPerMs = ANSWER_BYTES_PER_MS,
}: Pick<HttpServerOptions, "answerMs" | "answerBytesPerMs">) {
  const open = new Map<ServerResponse, { endMs: number | null }>();
  let timer: NodeJS.Timeout | undefined;
  const check = () => {
    const nowMs = performance.now();
    for (const [response, answer] of open) {
      if (!response.headersSent) continue;
      const unreadBytes = response.socket?.writableLength ?? 0;
      answer.endMs ??= nowMs + answerMs + unreadBytes / answerBytesPerMs;
      if (nowMs > answer.endMs) response.destroy();
    }
  };
  return {
    watch: (response: ServerResponse) => {
      open.set(response, { endMs: null });
      response.once("close", () => open.delete(response));
    },
    start: () => {
      timer = setInterval(check, CHECK_EVERY_MS).unref();
    },
    stop: () => {
      clearInterval(timer);
    },
  };
}

/** Listens. Port 0 takes a free one; without a host, the server listens on every address of the machine. */
export async function listen(
  server: Server,
  { port, host }: { port: number; host: string | undefined },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Headers of which a request has one: Node would keep the first of several, or join them. */
const SINGLE_HEADERS: ReadonlyMap<string, string> = new Map(
  ["Host", "Authorization", "Content-Type", "Content-Length", "Origin", "Idempotency-Key", "Act-As"].map(
    (name) => [name.toLowerCase(), name],
  ),
);

/** The first header that was sent more than once though a request has one of it. `rawHeaders`: names and values in turn. */
export function findRepeatedHeader(rawHeaders: readonly string[]): string | null {
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? "";
    const single = SINGLE_HEADERS.get(name);
    if (single === undefined) continue;
    if (seen.has(name)) return single;
    seen.add(name);
  }
  return null;
}
