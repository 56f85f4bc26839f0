import { STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import { MESSAGE_TOO_BIG } from "../protocol/codes.ts";
import {
  SOCKET_PATH,
  type Answer,
  type Session,
  type Socket,
  type Transport,
  type TransportOptions,
} from "./transport.ts";
import { NOT_FOUND, pathOf, sendReply } from "../../shared/platform/http/health.ts";
import { createHttpServer, listen as listenOn } from "../../shared/platform/http/http-server.ts";
import { answerPlain } from "./plain.ts";
import { decideUpgrade } from "./upgrade.ts";

/** Connections that are no sockets, or not yet. */
const MAX_PLAIN_CONNECTIONS = 20_000;

/** The library's error of a message over its limit. */
const TOO_BIG = "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH";

/** The transport of plain Node. One process only: it cannot share its port. @throws when the port is taken. */
export async function openWs(options: TransportOptions): Promise<Transport> {
  if (options.isShared) throw new Error("the transport ws cannot share its port with other processes");
  const sockets = createSocketServer(options);
  const closing = new Set<WebSocket>();
  const server = createHttpServer((request, response) => void respond(options, request, response), {
    maxConnections: MAX_PLAIN_CONNECTIONS,
    upgrades: true,
    onFull: (_request, response) => {
      sendReply(response, FULL);
    },
  });
  server.on("upgrade", (request, stream: Duplex, head) => {
    // The stream's end follows an error.
    stream.on("error", () => undefined);
    const decision =
      pathOf(request.url ?? "/") === SOCKET_PATH ? decideUpgrade(options, readClient(request)) : null;
    if (!decision) refuse(stream, NOT_FOUND);
    else if (decision.refusal !== null) {
      options.onRefused(decision.refusal);
      refuse(stream, decision.answer);
    } else {
      sockets.handleUpgrade(request, stream, head, (ws) => {
        serve(ws, closing, (socket) => options.accept(socket, decision));
      });
    }
  });
  const port = await listen(server, options);
  return {
    name: "ws",
    port,
    closingSockets: () => closing.size,
    stopAccepting: () => {
      server.close();
    },
    close: () => {
      for (const ws of sockets.clients) ws.terminate();
      server.close();
      server.closeAllConnections();
    },
  };
}

function createSocketServer({ limits, subprotocols }: TransportOptions): WebSocketServer {
  const options = {
    noServer: true,
    perMessageDeflate: false,
    // The library closes with 1009 over it.
    maxPayload: limits.frameBytes,
    // Pongs are sent under the session's limits.
    autoPong: false,
    closeTimeout: limits.closeMs,
    handleProtocols: (offered: Set<string>) => subprotocols.find((name) => offered.has(name)) ?? false,
  };
  // The package's types do not know `closeTimeout` yet.
  return new WebSocketServer(options);
}

function serve(ws: WebSocket, closing: Set<WebSocket>, accept: (socket: Socket) => Session): void {
  const session = accept({
    write: (payload) => {
      if (ws.readyState === ws.OPEN) ws.send(payload);
    },
    bufferedBytes: () => ws.bufferedAmount,
    close: (code, reason) => {
      if (ws.readyState !== ws.CLOSED) closing.add(ws);
      ws.close(code, reason);
    },
    terminate: () => {
      ws.terminate();
    },
  });
  ws.on("message", (data, isBinary) => {
    session.receive(toBuffer(data), isBinary);
  });
  ws.on("ping", (data) => {
    if (session.receiveControl()) ws.pong(data);
  });
  ws.on("pong", () => {
    session.receiveControl();
  });
  // The library closes after an error by itself: the client broke the WebSocket protocol, or the connection did.
  ws.on("error", (error) => {
    if (ws.readyState !== ws.CLOSED) closing.add(ws);
    session.closed("code" in error && error.code === TOO_BIG ? MESSAGE_TOO_BIG.code : 1_006);
  });
  ws.on("close", (code) => {
    closing.delete(ws);
    session.closed(code);
    session.gone();
  });
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function readClient({ headers, socket }: IncomingMessage) {
  const forwardedFor = headers["x-forwarded-for"] ?? "";
  return {
    origin: headers.origin ?? "",
    protocols: headers["sec-websocket-protocol"] ?? "",
    peer: socket.remoteAddress ?? "",
    forwardedFor: () => (typeof forwardedFor === "string" ? forwardedFor : forwardedFor.join(",")),
  };
}

const FULL: Answer = { status: 503, type: "text/plain", body: "too many connections" };

async function respond(
  options: TransportOptions,
  { method = "GET", url = "/", rawHeaders }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  sendReply(response, await answerPlain(options, { method, path: pathOf(url), rawHeaders }));
}

function refuse(stream: Duplex, { status, type, body }: Answer): void {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "connection: close",
    "cache-control: no-store",
    `content-type: ${type}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  // Node keeps the stream half open until the client ends its side, and has no time limit for it.
  stream.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => stream.destroy());
}

async function listen(server: Server, { port, host }: TransportOptions): Promise<number> {
  try {
    await listenOn(server, { port, host });
  } catch (error) {
    throw new Error(`port ${port} is taken`, { cause: error });
  }
  const address = server.address();
  return typeof address === "object" && address ? address.port : port;
}
