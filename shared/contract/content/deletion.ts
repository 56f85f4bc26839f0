import { z } from "zod";
import { defineAct } from "./define.ts";

/** The deletion of a message, by its author or a moderator. On Matrix it is a redaction. */
export const deletion = defineAct({
  entry: "message.deleted",
  act: "deletion",
  content: z.object({
    kind: z.literal("deletion"),
    reason: z.string().nullable(),
    // The message was pinned: it leaves the list on Matrix too.
    pinned: z.boolean().optional(),
  }),
  own: "delete own",
  any: "delete any",
  isUnlimited: true,
  survivesRemoval: true,
  identify: () => "",
});
