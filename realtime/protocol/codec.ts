import type { Command } from "./commands.ts";
import type { EncodedFrame, Frame, Payload } from "./frames.ts";

/** One encoding of the protocol. */
export type Codec = {
  /** The name that a client asks for in `Sec-WebSocket-Protocol`. */
  readonly subprotocol: string;
  /** Whether its WebSocket messages are binary. The other type of message is refused. */
  readonly isBinary: boolean;
  /** The commands of a message, in order; null when the message is not of the protocol. `message` is read before it returns. */
  decode(message: Buffer): Command[] | null;
  encode(frame: Frame): EncodedFrame;
  /** One message of several encoded frames, in order. */
  join(payloads: readonly Payload[]): Payload;
};

/** Encodes a frame; a publication once per codec, however many subscribers receive it. */
export function encodeFrame(codec: Codec, frame: Frame): EncodedFrame {
  if (frame.kind !== "publication") return codec.encode(frame);
  const known = frame.encoded.get(codec);
  if (known) return known;
  const encoded = codec.encode(frame);
  frame.encoded.set(codec, encoded);
  return encoded;
}
