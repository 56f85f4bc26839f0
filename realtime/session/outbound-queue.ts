import type { Frame } from "../protocol/json.ts";

/** A socket as its queue sees it. */
export type Socket = {
  /** Writes one frame. */
  write(text: string): void;
  /** Bytes that were written and that the client has not taken yet. */
  bufferedBytes(): number;
  end(code: number, reason: string): void;
};

/** Flushes the queues that were added to, once per turn of the event loop. */
export class Flusher {
  readonly #waiting = new Set<OutboundQueue>();

  add(queue: OutboundQueue): void {
    if (this.#waiting.size === 0)
      setImmediate(() => {
        this.#flush();
      });
    this.#waiting.add(queue);
  }

  #flush(): void {
    const queues = [...this.#waiting];
    this.#waiting.clear();
    for (const queue of queues) queue.flush();
  }
}

/** What waits to be written to one socket: joined by newlines and written once per turn, limited in bytes. */
export class OutboundQueue {
  readonly #socket: Socket;
  readonly #flusher: Flusher;
  readonly #limit: { maxBytes: number; onSlow: () => void };
  #lines: string[] = [];
  #bytes = 0;
  #isShut = false;

  constructor(socket: Socket, flusher: Flusher, limit: { maxBytes: number; onSlow: () => void }) {
    this.#socket = socket;
    this.#flusher = flusher;
    this.#limit = limit;
  }

  push(frame: Frame): void {
    if (this.#isShut) return;
    this.#lines.push(frame.text);
    this.#bytes += frame.bytes + 1;
    if (this.#bytes > this.#limit.maxBytes) this.#limit.onSlow();
    else this.#flusher.add(this);
  }

  flush(): void {
    if (this.#isShut || this.#lines.length === 0) return;
    if (this.#bytes + this.#socket.bufferedBytes() > this.#limit.maxBytes) {
      this.#limit.onSlow();
      return;
    }
    const text = this.#lines.length === 1 ? (this.#lines[0] ?? "") : this.#lines.join("\n");
    this.#lines = [];
    this.#bytes = 0;
    this.#socket.write(text);
  }

  /** Bytes that wait here and in the socket's buffers. */
  get bytes(): number {
    return this.#isShut ? 0 : this.#bytes + this.#socket.bufferedBytes();
  }

  /** Forgets what waits and takes nothing more. */
  shut(): void {
    this.#isShut = true;
    this.#lines = [];
    this.#bytes = 0;
  }
}
