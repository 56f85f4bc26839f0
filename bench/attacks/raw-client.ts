import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A WebSocket client without a library, which costs little beside what is measured. It answers no close. */
export type RawClient = {
  socket: Socket;
  /** Sends one text message. */
  sendText: (text: string) => void;
  /** Sends pings of the largest size until this many bytes are sent, the server ends the socket, or `limitMs` has passed. */
  sendPings: (bytes: number, limitMs: number) => Promise<void>;
  close: () => void;
};

export type RawOptions = {
  url: string;
  /** A source address on loopback. */
  from?: string;
  /** Called with each text message of the server. */
  onText?: (text: string) => void;
  /** Called once, when the socket has ended. */
  onEnd?: () => void;
};

const TEXT = 1;
const PING = 9;
const CLOSE = 8;
const LARGEST_CONTROL_BYTES = 125;
const PINGS_AT_ONCE = 500;

/** Opens a socket; resolves when the upgrade is answered with 101. @throws with the answer when it is another one. */
export async function openRawClient({ url, from, onText, onEnd }: RawOptions): Promise<RawClient> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect({
    host: hostname,
    port: Number(port),
    ...(from === undefined ? {} : { localAddress: from }),
  });
  socket.setNoDelay(true);
  socket.on("error", () => undefined);
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    socket.destroy();
    onEnd?.();
  };
  socket.once("close", end);
  socket.write(
    `GET ${pathname} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
      "sec-websocket-version: 13\r\nsec-websocket-key: AQEBAQEBAQEBAQEBAQEBAQ==\r\n\r\n",
  );
  let waiting = await readUpgrade(socket);
  const read = (data: Buffer) => {
    waiting = readFrames(waiting.length === 0 ? data : Buffer.concat([waiting, data]), (type, body) => {
      if (type === TEXT) onText?.(body.toString());
      else if (type === CLOSE) end();
    });
  };
  read(Buffer.alloc(0));
  socket.on("data", read);
  return {
    socket,
    sendText: (text) => void socket.write(encode(TEXT, Buffer.from(text))),
    sendPings: async (bytes, limitMs) => {
      const ping = encode(PING, Buffer.alloc(LARGEST_CONTROL_BYTES, 1));
      const some = Buffer.concat(Array.from({ length: PINGS_AT_ONCE }, () => ping));
      const endMs = performance.now() + limitMs;
      for (
        let sent = 0;
        sent < bytes && !socket.destroyed && performance.now() < endMs;
        sent += some.length
      ) {
        if (socket.write(some)) await new Promise(setImmediate);
        else await Promise.race([drained(socket), new Promise((resolve) => setTimeout(resolve, limitMs))]);
      }
    },
    close: end,
  };
}

async function drained(socket: Socket): Promise<void> {
  await Promise.race([once(socket, "drain"), once(socket, "close")]).catch(() => undefined);
}

/** Reads the answer to the upgrade. Returns the bytes behind it. */
async function readUpgrade(socket: Socket): Promise<Buffer> {
  let head = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const fail = () => {
      reject(new Error(head.toString().split("\r\n", 1)[0] || "the socket ended before the upgrade"));
    };
    const take = (data: Buffer) => {
      head = Buffer.concat([head, data]);
      const end = head.indexOf("\r\n\r\n");
      if (end === -1) return;
      socket.off("data", take);
      socket.off("close", fail);
      if (head.toString("latin1", 9, 12) === "101") resolve(head.subarray(end + 4));
      else {
        fail();
        socket.destroy();
      }
    };
    socket.on("data", take);
    socket.once("close", fail);
  });
}

/** Reads whole frames of a server. Returns the bytes of the last one, when it is not whole. */
function readFrames(bytes: Buffer, onFrame: (type: number, body: Buffer) => void): Buffer {
  let at = 0;
  while (bytes.length - at >= 2) {
    const short = (bytes[at + 1] ?? 0) & 127;
    const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length - at < headBytes) break;
    const length =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    if (bytes.length - at < headBytes + length) break;
    onFrame((bytes[at] ?? 0) & 15, bytes.subarray(at + headBytes, at + headBytes + length));
    at += headBytes + length;
  }
  return bytes.subarray(at);
}

/** A frame of a client, masked with zeros. */
function encode(type: number, body: Buffer): Buffer {
  const length =
    body.length < 126 ? [0x80 | body.length] : [0x80 | 126, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([0x80 | type, ...length, 0, 0, 0, 0]), body]);
}
