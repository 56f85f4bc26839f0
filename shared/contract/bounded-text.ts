import { z } from "zod";

const encoder = new TextEncoder();

/** Text of 1 to `maxBytes` bytes in UTF-8. */
export function boundedText(maxBytes: number) {
  return z
    .string()
    .min(1)
    .max(maxBytes)
    .refine((text) => hasAtMost(text, maxBytes), `must have at most ${maxBytes} bytes in UTF-8`)
    .meta({ description: `1 to ${maxBytes} bytes in UTF-8` });
}

function hasAtMost(text: string, maxBytes: number): boolean {
  // A UTF-16 unit takes three bytes at most: most texts need no encoding.
  return text.length * 3 <= maxBytes || encoder.encode(text).length <= maxBytes;
}
