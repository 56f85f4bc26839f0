import type { Payload } from "../protocol/frames.ts";
import type { Session, Socket } from "./transport.ts";

/** What uWebSockets.js keeps with a socket. */
export type SocketData = {
  origin: string | null;
  subprotocol: string | null;
  socket: UwsSocket | null;
  session: Session | null;
};

/** What is used of the library's WebSocket. */
type NativeSocket = {
  cork(write: () => void): unknown;
  send(payload: Payload, isBinary: boolean): number;
  getBufferedAmount(): number;
  end(code: number, reason: string): void;
  close(): void;
};

/** What `send` returns when the library has dropped a message over its limit. */
const DROPPED = 2;

/** A socket of uWebSockets.js. It must not be touched after the library's `close` event. */
export class UwsSocket implements Socket {
  readonly #ws: NativeSocket;
  readonly #closing: Set<UwsSocket>;
  readonly #closeMs: number;
  #isEnded = false;
  #pendingClose: { code: number; reason: string; timer: NodeJS.Timeout } | null = null;

  /** `closing` holds the sockets whose close frame waits. */
  constructor(ws: NativeSocket, closing: Set<UwsSocket>, closeMs: number) {
    this.#ws = ws;
    this.#closing = closing;
    this.#closeMs = closeMs;
  }

  write(payload: Payload): void {
    if (this.#isEnded) return;
    let status = 0;
    this.#ws.cork(() => {
      status = this.#ws.send(payload, typeof payload !== "string");
    });
    // The client would miss a message. The session's limit closes before that happens.
    if (status === DROPPED) this.terminate();
  }

  bufferedBytes(): number {
    return this.#isEnded ? 0 : this.#ws.getBufferedAmount();
  }

  /**
   * After `end` the library gives no more access to the socket, so a close frame behind buffered bytes waits here until
   * they are taken. Once they are, the library ends a socket whose client does not answer after 12 to 16 s.
   */
  close(code: number, reason: string): void {
    if (this.#isEnded || this.#pendingClose) return;
    if (this.#ws.getBufferedAmount() === 0) {
      this.#ws.end(code, reason);
      return;
    }
    const timer = setTimeout(() => {
      this.terminate();
    }, this.#closeMs);
    this.#pendingClose = { code, reason, timer };
    this.#closing.add(this);
  }

  terminate(): void {
    if (!this.#isEnded) this.#ws.close();
  }

  /** The client has taken buffered bytes. */
  drained(): void {
    if (!this.#pendingClose || this.bufferedBytes() > 0) return;
    const { code, reason } = this.#pendingClose;
    this.#ws.end(code, reason);
  }

  /** The library's `close` event. */
  ended(): void {
    this.#isEnded = true;
    if (this.#pendingClose) clearTimeout(this.#pendingClose.timer);
    this.#closing.delete(this);
  }
}
