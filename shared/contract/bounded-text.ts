import { z } from "zod";

const encoder = new TextEncoder();

/** White space, and characters that are never drawn, such as U+200B and U+FEFF: a text of these alone looks empty. */
const VISIBLE = /[^\p{White_Space}\p{Default_Ignorable_Code_Point}]/u;

/**
 * The same for readers of the OpenAPI document, whose regular expressions may know no Unicode properties: no control
 * character but tab and newline, and one visible character. It leaves out characters above U+FFFF that are never drawn.
 */
const DESCRIBED_PATTERN = (() => {
  const controls = "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f";
  const blank =
    "\\s\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164" +
    "\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8";
  return `^[^${controls}]*[^${controls}${blank}][^${controls}]*$`;
})();

/** Text of 1 to `maxBytes` bytes in UTF-8. */
export function limitedText(maxBytes: number) {
  return z
    .string()
    .min(1)
    .max(maxBytes)
    .refine((text) => hasAtMost(text, maxBytes), `must have at most ${maxBytes} bytes in UTF-8`);
}

/** Text of 1 to `maxBytes` bytes in UTF-8, of which one character at least is visible. */
export function boundedText(maxBytes: number) {
  return limitedText(maxBytes)
    .refine((text) => text === "" || VISIBLE.test(text), "must have a visible character")
    .meta({
      description: `1 to ${maxBytes} bytes in UTF-8, with a visible character: not only white space and characters that are never drawn`,
      pattern: DESCRIBED_PATTERN,
    });
}

function hasAtMost(text: string, maxBytes: number): boolean {
  // A UTF-16 unit takes three bytes at most: most texts need no encoding.
  return text.length * 3 <= maxBytes || encoder.encode(text).length <= maxBytes;
}
