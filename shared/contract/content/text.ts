import { z } from "zod";
import { boundedText } from "../bounded-text.ts";
import { defineContent } from "./define.ts";

/** A message of plain text. Rows without a kind are of this one: they are older than the kinds. */
export const text = defineContent({
  entry: "message.created",
  request: z.strictObject({ text: boundedText(10_000) }),
  content: z.object({ kind: z.literal("text").default("text"), text: z.string() }),
  permission: "post",
  relatesTo: "none",
  countsAsUnread: true,
  toContent: ({ text }) => ({ kind: "text" as const, text }),
  identify: ({ text }) => text,
  present: ({ text }) => ({
    kind: "text" as const,
    text,
    format: "plain" as const,
    html: null,
    mentions: { users: [], room: false },
    media: null,
  }),
});
