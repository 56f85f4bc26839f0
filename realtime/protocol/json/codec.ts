import type { Codec } from "../codec.ts";
import { decodeCommands } from "./decode.ts";
import { encodeText } from "./encode.ts";

/** Centrifuge protocol v2 in JSON: a message is text, with a command or a frame on each line. */
export const jsonCodec: Codec = {
  subprotocol: "centrifuge-json",
  isBinary: false,
  decode: (message) => decodeCommands(message.toString()),
  encode: (frame) => {
    const payload = encodeText(frame);
    return { payload, bytes: Buffer.byteLength(payload) };
  },
  join: (payloads) => payloads.join("\n"),
};
