import { once } from "node:events";
import { connect } from "node:net";
import { waitFor } from "./centrifuge.ts";

/** A WebSocket client without a library: it does not answer pings or closes, and can stop reading. */
export type PlainSocket = {
  sendText: (text: string) => void;
  sendPing: (text: string) => void;
  /** Sends pings of the largest size; resolves when the system has taken them, or the server has ended the socket. */
  sendPings: (count: number) => Promise<void>;
  /** Stops reading. */
  pause: () => void;
  received: () => Buffer;
  /** Resolves when the server has ended the socket. */
  ended: () => Promise<void>;
  end: () => void;
};

const TEXT = 0x81;
const PING = 0x89;
const LARGEST_CONTROL_BYTES = 125;

export async function openPlainSocket({ port }: { port: number }): Promise<PlainSocket> {
  const socket = connect({ port, host: "127.0.0.1" });
  const chunks: Buffer[] = [];
  let isEnded = false;
  socket.on("data", (data) => chunks.push(data));
  socket.on("error", () => undefined);
  for (const event of ["close", "end"]) socket.once(event, () => (isEnded = true));
  await once(socket, "connect");
  socket.write(
    [
      "GET /connection/websocket HTTP/1.1",
      `host: 127.0.0.1:${port}`,
      "connection: upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      `sec-websocket-key: ${Buffer.alloc(16, 1).toString("base64")}`,
      "\r\n",
    ].join("\r\n"),
  );
  await waitFor(() => Buffer.concat(chunks).includes("\r\n\r\n"));
  return {
    sendText: (text) => socket.write(encode(TEXT, Buffer.from(text))),
    sendPing: (text) => socket.write(encode(PING, Buffer.from(text))),
    sendPings: async (count) => {
      const ping = encode(PING, Buffer.alloc(LARGEST_CONTROL_BYTES, 1));
      const isTaken = socket.write(Buffer.concat(Array.from({ length: count }, () => ping)));
      if (!isTaken) await Promise.race([once(socket, "drain"), once(socket, "close")]);
    },
    pause: () => {
      socket.pause();
    },
    received: () => Buffer.concat(chunks),
    ended: async () => {
      socket.resume();
      await waitFor(() => isEnded);
    },
    end: () => socket.destroy(),
  };
}

/** A frame of a client, masked with zeros. */
function encode(type: number, body: Buffer): Buffer {
  const length =
    body.length < 126 ? [0x80 | body.length] : [0x80 | 126, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([type, ...length, 0, 0, 0, 0]), body]);
}
