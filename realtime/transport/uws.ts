import { STATUS_CODES } from "node:http";
import type uws from "uWebSockets.js";
import type {
  HttpRequest,
  HttpResponse,
  ListenOptions,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocketBehavior,
} from "uWebSockets.js";
import {
  MAX_MESSAGE_BYTES,
  SOCKET_PATH,
  type Answer,
  type OpenTransport,
  type Transport,
  type TransportOptions,
} from "./transport.ts";
import { answerPlain, type PlainRequest } from "./plain.ts";
import { decideUpgrade } from "./upgrade.ts";
import { UwsSocket, type SocketData } from "./uws-socket.ts";

type Uws = typeof uws;

/** The library's own limit of silence, in seconds. The session's pings come first. */
const IDLE_S = 120;

/** Loads the native library. @throws when there is no binary for this system and Node. */
export async function loadUws(): Promise<OpenTransport> {
  const library = (await import("uWebSockets.js")).default;
  return (options) => openUws(library, options);
}

async function openUws(library: Uws, options: TransportOptions): Promise<Transport> {
  const app = library.App();
  const closing = new Set<UwsSocket>();
  app.ws<SocketData>(SOCKET_PATH, {
    compression: library.DISABLED,
    ...createBehavior(options, closing),
  });
  app.any("/*", (res, req) => {
    void respond(options, res, readRequest(req));
  });
  const listening = await listen(app, options);
  let isListening = true;
  return {
    name: "uws",
    port: library.us_socket_local_port(listening),
    closingSockets: () => closing.size,
    stopAccepting: () => {
      if (isListening) library.us_listen_socket_close(listening);
      isListening = false;
    },
    close: () => void app.close(),
  };
}

function createBehavior(
  options: TransportOptions,
  closing: Set<UwsSocket>,
): Omit<WebSocketBehavior<SocketData>, "compression"> {
  const { limits } = options;
  return {
    // The library ends a socket with a longer message without a close frame: the session closes shorter ones with 1009.
    maxPayloadLength: MAX_MESSAGE_BYTES,
    // Beyond this the library drops what it is given: pongs, which it sends by itself, and the close frame.
    maxBackpressure: limits.queueBytes,
    idleTimeout: IDLE_S,
    sendPingsAutomatically: false,
    upgrade: (res, req, context) => {
      upgrade(options, res, req, context);
    },
    open: (ws) => {
      const data = ws.getUserData();
      data.socket = new UwsSocket(ws, closing, limits.closeMs);
      data.session = options.accept(data.socket, data);
    },
    message: (ws, message, isBinary) => {
      ws.getUserData().session?.receive(Buffer.from(message), isBinary);
    },
    // The library has sent the pong already. A session that is over a limit closes here.
    ping: (ws) => {
      ws.getUserData().session?.receivePing();
    },
    drain: (ws) => {
      ws.getUserData().socket?.drained();
    },
    close: (ws, code) => {
      const { socket, session } = ws.getUserData();
      socket?.ended();
      session?.closed(code);
    },
  };
}

// LIBUS_LISTEN_DEFAULT and LIBUS_LISTEN_EXCLUSIVE_PORT: the package and its types disagree on where these names are.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
const DEFAULT_PORT = 0 as ListenOptions;
const EXCLUSIVE_PORT = 1 as ListenOptions;
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */

function listen(app: TemplatedApp, { port, host, isShared }: TransportOptions): Promise<us_listen_socket> {
  const mode = isShared ? DEFAULT_PORT : EXCLUSIVE_PORT;
  return new Promise((resolve, reject) => {
    const onListening = (listening: us_listen_socket | false) => {
      if (listening) resolve(listening);
      else reject(new Error(`port ${port} is taken`));
    };
    if (host === undefined) app.listen(port, mode, onListening);
    // @ts-expect-error The library takes options behind a host too; its types do not say so.
    else app.listen(host, port, mode, onListening);
  });
}

function upgrade(
  options: TransportOptions,
  res: HttpResponse,
  req: HttpRequest,
  context: us_socket_context_t,
): void {
  const decision = decideUpgrade(options, {
    origin: req.getHeader("origin"),
    protocols: req.getHeader("sec-websocket-protocol"),
  });
  if (decision.refusal !== null) {
    options.onRefused(decision.refusal);
    end(res, decision.answer);
    return;
  }
  const { origin, subprotocol } = decision;
  const data: SocketData = { origin, subprotocol, socket: null, session: null };
  res.upgrade(
    data,
    req.getHeader("sec-websocket-key"),
    subprotocol ?? "",
    req.getHeader("sec-websocket-extensions"),
    context,
  );
}

function readRequest(req: HttpRequest): PlainRequest {
  const rawHeaders: string[] = [];
  req.forEach((name, value) => rawHeaders.push(name, value));
  return { method: req.getMethod().toUpperCase(), path: req.getUrl(), rawHeaders };
}

async function respond(options: TransportOptions, res: HttpResponse, request: PlainRequest): Promise<void> {
  const aborted = new AbortController();
  res.onAborted(() => {
    aborted.abort();
  });
  const reply = await answerPlain(options, request);
  if (!aborted.signal.aborted)
    res.cork(() => {
      end(res, reply, request.method);
    });
}

function end(res: HttpResponse, { status, type, body, allow }: Answer, method = "GET"): void {
  res
    .writeStatus(`${status} ${STATUS_CODES[status] ?? ""}`)
    .writeHeader("content-type", type)
    .writeHeader("cache-control", "no-store");
  if (allow !== undefined) res.writeHeader("allow", allow);
  if (method === "HEAD") res.endWithoutBody(Buffer.byteLength(body));
  else res.end(body);
}
