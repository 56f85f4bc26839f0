import { z } from "zod";
import { defineAct } from "./define.ts";

/** How many messages of a room may be pinned. */
export const MAX_PINS = 50;

const pinning = {
  act: "pin",
  own: "pin",
  any: "pin",
  isUnlimited: false,
  survivesRemoval: true,
  identify: () => "",
} as const;

/** The pinning of a message. On Matrix the observer writes the room's whole list. */
export const pin = defineAct({
  ...pinning,
  entry: "message.pinned",
  content: z.object({ kind: z.literal("pin") }),
});

/** The end of a pinning. */
export const unpin = defineAct({
  ...pinning,
  entry: "message.unpinned",
  content: z.object({ kind: z.literal("unpin") }),
});
