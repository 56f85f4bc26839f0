import { z } from "zod";
import { time } from "./time.ts";

const notify = z.enum(["all", "mentions", "none"]);

/** What one person wants of a room for all own devices. */
export const roomSettings = z
  .object({
    notify: notify.meta({ description: "What counts as unread in the totals" }),
    mutedUntil: time.nullable().meta({ description: "Nothing of the room counts in the totals until then" }),
    pinned: z.boolean(),
    archived: z.boolean(),
  })
  .meta({ id: "RoomSettings" });
export type RoomSettings = z.infer<typeof roomSettings>;
