import type { EncodedFrame, Payload } from "../protocol/frames.ts";
import type { Codec } from "../protocol/codec.ts";
import type { Socket } from "../transport/transport.ts";
import type { Flusher } from "./flusher.ts";

export type OutboundQueueOptions = {
  codec: Pick<Codec, "join">;
  flusher: Flusher;
  /** The limit of the bytes that wait here and in the socket. */
  maxBytes: number;
  /** Called when the client does not read fast enough for the limit. */
  onSlow: () => void;
};

/** The frames that wait for one socket. They are joined and written once per turn of the event loop. */
export class OutboundQueue {
  readonly #socket: Pick<Socket, "write" | "bufferedBytes">;
  readonly #options: OutboundQueueOptions;
  #payloads: Payload[] = [];
  #bytes = 0;
  #isShut = false;

  constructor(socket: Pick<Socket, "write" | "bufferedBytes">, options: OutboundQueueOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  push({ payload, bytes }: EncodedFrame): void {
    if (this.#isShut) return;
    this.#payloads.push(payload);
    // One byte for the separator.
    this.#bytes += bytes + 1;
    if (this.#bytes > this.#options.maxBytes) this.#options.onSlow();
    else this.#options.flusher.add(this);
  }

  flush(): void {
    const [first] = this.#payloads;
    if (this.#isShut || first === undefined) return;
    if (this.isOverLimit) {
      this.#options.onSlow();
      return;
    }
    const message = this.#payloads.length === 1 ? first : this.#options.codec.join(this.#payloads);
    this.#payloads = [];
    this.#bytes = 0;
    this.#socket.write(message);
  }

  /** Bytes that wait here and in the socket's buffers. */
  get bytes(): number {
    return this.#isShut ? 0 : this.#bytes + this.#socket.bufferedBytes();
  }

  get isOverLimit(): boolean {
    return this.bytes > this.#options.maxBytes;
  }

  /** Drops what waits and takes nothing more. */
  shut(): void {
    this.#isShut = true;
    this.#payloads = [];
    this.#bytes = 0;
  }
}
