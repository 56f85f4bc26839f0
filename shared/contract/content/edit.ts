import { z } from "zod";
import { textFormat } from "../resources/message.ts";
import { defineAct } from "./define.ts";

/** A new text of a message, by its author alone. `of`: the kind of the message. */
export const edit = defineAct({
  entry: "message.edited",
  act: "edit",
  content: z.object({
    kind: z.literal("edit"),
    of: z.string().default("text"),
    text: z.string(),
    format: textFormat.default("plain"),
    html: z.string().nullable().default(null),
    mentions: z.object({ users: z.array(z.string()), room: z.boolean() }).default({ users: [], room: false }),
  }),
  own: "edit own",
  any: null,
  isUnlimited: false,
  survivesRemoval: false,
  identify: ({ text, format, mentions }) => JSON.stringify([text, format, mentions]),
});
