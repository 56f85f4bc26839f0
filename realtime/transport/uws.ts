import uws, {
  type ListenOptions,
  type HttpRequest,
  type HttpResponse,
  type us_listen_socket,
  type us_socket_context_t,
  type WebSocket,
} from "uWebSockets.js";
import { CLOSE } from "../protocol/codes.ts";
import type { Connection } from "../session/connection.ts";
import type { Limits } from "../limits.ts";
import type { Socket } from "../session/outbound-queue.ts";

export type Answer = { status: string; type: string; body: string };

export type ServerOptions = {
  port: number;
  /** Whether other processes may listen on the same port, sharing what comes in. */
  isShared: boolean;
  limits: Limits;
  /** Whether pages of an origin may open a socket at all; for which tenant is asked once the token is there. */
  isKnownOrigin: (origin: string) => boolean;
  accept: (socket: Socket, origin: string | null) => Connection;
  isFull: () => boolean;
  onRefused: (reason: "origin" | "protocol" | "full") => void;
  /** Answers a plain request; null for a path that there is not. */
  answer: (path: string) => Promise<Answer> | null;
};

export type Server = {
  port: number;
  stopAccepting: () => void;
  /** Ends whatever is still open. */
  close: () => void;
};

type SocketData = { connection: Connection | null; origin: string | null };

const SOCKET_PATH = "/connection/websocket";
/** The protocol of frames in JSON: named, or nothing said. */
const SUBPROTOCOL = "centrifuge-json";
/** Behind our own pings, which come first: closes what died without a word. */
const IDLE_S = 120;

/** @throws when the port is taken. */
export async function openServer(options: ServerOptions): Promise<Server> {
  const app = uws.App();
  app.ws<SocketData>(SOCKET_PATH, {
    compression: uws.DISABLED,
    maxPayloadLength: options.limits.frameBytes,
    maxBackpressure: options.limits.socketBytes,
    idleTimeout: IDLE_S,
    sendPingsAutomatically: false,
    upgrade: (res, req, context) => {
      upgrade(options, res, req, context);
    },
    open: (ws) => {
      const data = ws.getUserData();
      data.connection = options.accept(createSocket(ws), data.origin);
    },
    message: (ws, message, isBinary) => {
      const { connection } = ws.getUserData();
      if (isBinary) connection?.close(CLOSE.inappropriateProtocol);
      else connection?.receive(Buffer.from(message).toString());
    },
    close: (ws, code) => {
      ws.getUserData().connection?.gone(code);
    },
  });
  app.get("/*", (res, req) => {
    void respond(options, res, req.getUrl());
  });
  app.any("/*", (res) => {
    end(res, { status: "405 Method Not Allowed", type: "text/plain", body: "method not allowed" });
  });
  const listening = await listen(app, options);
  let isListening = true;
  const stopAccepting = () => {
    if (isListening) uws.us_listen_socket_close(listening);
    isListening = false;
  };
  return { port: uws.us_socket_local_port(listening), stopAccepting, close: () => void app.close() };
}

// LIBUS_LISTEN_DEFAULT and LIBUS_LISTEN_EXCLUSIVE_PORT: the package and its types disagree on where these names are.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
const DEFAULT_PORT = 0 as ListenOptions;
const EXCLUSIVE_PORT = 1 as ListenOptions;
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */

function listen(app: uws.TemplatedApp, { port, isShared }: ServerOptions): Promise<us_listen_socket> {
  const mode = isShared ? DEFAULT_PORT : EXCLUSIVE_PORT;
  return new Promise((resolve, reject) => {
    app.listen(port, mode, (listening) => {
      if (listening) resolve(listening);
      else reject(new Error(`port ${port} is taken`));
    });
  });
}

function upgrade(
  options: ServerOptions,
  res: HttpResponse,
  req: HttpRequest,
  context: us_socket_context_t,
): void {
  const origin = req.getHeader("origin");
  const protocols = req
    .getHeader("sec-websocket-protocol")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  if (origin !== "" && !options.isKnownOrigin(origin)) {
    options.onRefused("origin");
    end(res, { status: "403 Forbidden", type: "text/plain", body: "this origin may not connect" });
  } else if (protocols.length > 0 && !protocols.includes(SUBPROTOCOL)) {
    options.onRefused("protocol");
    end(res, {
      status: "400 Bad Request",
      type: "text/plain",
      body: `only the sub-protocol ${SUBPROTOCOL} is spoken`,
    });
  } else if (options.isFull()) {
    options.onRefused("full");
    end(res, {
      status: "503 Service Unavailable",
      type: "text/plain",
      body: "no room for another connection",
    });
  } else {
    const data: SocketData = { connection: null, origin: origin === "" ? null : origin };
    const key = req.getHeader("sec-websocket-key");
    res.upgrade(
      data,
      key,
      protocols.length > 0 ? SUBPROTOCOL : "",
      req.getHeader("sec-websocket-extensions"),
      context,
    );
  }
}

function createSocket(ws: WebSocket<SocketData>): Socket {
  return {
    write: (text) => {
      ws.cork(() => {
        ws.send(text);
      });
    },
    bufferedBytes: () => ws.getBufferedAmount(),
    end: (code, reason) => {
      ws.end(code, reason);
    },
  };
}

async function respond({ answer }: ServerOptions, res: HttpResponse, path: string): Promise<void> {
  const aborted = new AbortController();
  res.onAborted(() => {
    aborted.abort();
  });
  const reply = (await answer(path)) ?? {
    status: "404 Not Found",
    type: "application/json",
    body: '{"error":"not found"}',
  };
  if (!aborted.signal.aborted)
    res.cork(() => {
      end(res, reply);
    });
}

function end(res: HttpResponse, { status, type, body }: Answer): void {
  res
    .writeStatus(status)
    .writeHeader("content-type", type)
    .writeHeader("cache-control", "no-store")
    .end(body);
}
