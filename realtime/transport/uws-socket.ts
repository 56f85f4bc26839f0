import type { Payload } from "../protocol/frames.ts";
import type { Lingering } from "./lingering.ts";
import type { Session, Socket, UpgradedClient } from "./transport.ts";

/** What uWebSockets.js keeps with a socket. */
export type SocketData = UpgradedClient & { socket: UwsSocket | null; session: Session | null };

/** What is used of the library's WebSocket. */
type NativeSocket = {
  cork(write: () => void): unknown;
  send(payload: Payload, isBinary: boolean): number;
  getBufferedAmount(): number;
  end(code: number, reason: string): void;
  close(): void;
};

/** The sockets of one server that were closed here. `lingering` has those to which the library gives no more access. */
export type ClosingSockets = { waiting: Set<UwsSocket>; lingering: Lingering; lingeringCount: number };

/** What `send` returns when the library has dropped a message over its limit. */
const DROPPED = 2;

/** The code of a socket that ended without a close frame of either side. */
const ABNORMAL = 1_006;

/** A socket of uWebSockets.js. It must not be touched after the library's `close` event. */
export class UwsSocket implements Socket {
  readonly #ws: NativeSocket;
  readonly #closing: ClosingSockets;
  readonly #closeMs: number;
  #isEnded = false;
  #isEndedHere = false;
  #pendingClose: { code: number; reason: string; timer: NodeJS.Timeout } | null = null;

  constructor(ws: NativeSocket, closing: ClosingSockets, closeMs: number) {
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
      this.#end(code, reason);
      return;
    }
    const timer = setTimeout(() => {
      this.terminate();
    }, this.#closeMs);
    this.#pendingClose = { code, reason, timer };
    this.#closing.waiting.add(this);
  }

  terminate(): void {
    if (!this.#isEnded) this.#ws.close();
  }

  /** The client has taken buffered bytes. */
  drained(): void {
    if (!this.#pendingClose || this.bufferedBytes() > 0) return;
    this.#end(this.#pendingClose.code, this.#pendingClose.reason);
  }

  #end(code: number, reason: string): void {
    this.#isEndedHere = true;
    this.#ws.end(code, reason);
  }

  /** The library's `close` event. Calls `onGone` once nothing of the socket is left. */
  ended(code: number, onGone: () => void): void {
    this.#isEnded = true;
    if (this.#pendingClose) clearTimeout(this.#pendingClose.timer);
    this.#closing.waiting.delete(this);
    // After a close frame of either side the library waits for the client's end. It does not report that end.
    if (code === ABNORMAL) onGone();
    else this.#linger(onGone);
  }

  #linger(onGone: () => void): void {
    const closing = this.#closing;
    const counted = this.#isEndedHere ? 1 : 0;
    closing.lingeringCount += counted;
    closing.lingering.add(() => {
      closing.lingeringCount -= counted;
      onGone();
    });
  }
}
