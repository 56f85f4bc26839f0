import type { Codec } from "./codec.ts";
import { jsonCodec } from "./json/codec.ts";

/** Every codec, the preferred one first. */
export const CODECS: readonly Codec[] = [jsonCodec];

/** The codec of a sub-protocol; JSON for a client that names none. */
export function codecOf(subprotocol: string | null): Codec {
  return CODECS.find((codec) => codec.subprotocol === subprotocol) ?? jsonCodec;
}
