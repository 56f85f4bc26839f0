import { z } from "zod";
import { defineAct } from "./define.ts";

/** How many keys one person may have on a message, and a message in all. */
export const MAX_KEYS_OF_PERSON = 20;
export const MAX_KEYS = 50;

const MAX_KEY_BYTES = 64;
const encoder = new TextEncoder();

/** The selector of the emoji form, which some clients add: keys are compared without it. */
const EMOJI_FORM = /\uFE0F/g;

function isKey(key: string): boolean {
  return (
    encoder.encode(key).length <= MAX_KEY_BYTES &&
    comparedKey(key) !== "" &&
    key.isWellFormed() &&
    !/\p{Cc}/u.test(key) &&
    !key.startsWith("mxc:")
  );
}

/** What a person reacts with: an emoji or a short text, as the person wrote it. */
export const reactionKey = z
  .string()
  .min(1)
  .max(MAX_KEY_BYTES)
  .refine(isKey, `must have 1 to ${MAX_KEY_BYTES} bytes in UTF-8, without control characters`);

/** A key as it is compared and counted. */
export function comparedKey(key: string): string {
  return key.replaceAll(EMOJI_FORM, "");
}

/**
 * The content of a reaction and of its removal. `key` is the compared form, `raw` what was written: Matrix gets that.
 */
export const reactionContent = { key: z.string(), raw: z.string().optional() };

/** A reaction to a message. */
export const reaction = defineAct({
  entry: "reaction.added",
  act: "reaction",
  content: z.object({ kind: z.literal("reaction"), ...reactionContent }),
  own: "react",
  any: "react",
  isUnlimited: false,
  survivesRemoval: false,
  identify: ({ key }) => key,
});
