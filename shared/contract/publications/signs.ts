import { z } from "zod";
import { person } from "../resources/person.ts";

const unreadCounts = { unread: z.int(), mentions: z.int() };

/** What is published without a number, and is not stored. */
export const signPublications = [
  z.object({ type: z.literal("sent"), room: z.string(), number: z.int() }),
  z.object({ type: z.literal("typing"), room: z.string(), users: z.array(person) }),
  z.object({ type: z.literal("receipt"), room: z.string(), user: person, number: z.int() }),
  // The whole list, by user id; without `users` in a room of more than 100 members.
  z.object({
    type: z.literal("presence"),
    room: z.string(),
    online: z.int(),
    users: z.array(z.string()).optional(),
  }),
  z.object({
    type: z.literal("unread"),
    room: z.string(),
    ...unreadCounts,
    firstUnread: z.int().nullable(),
    total: z.object(unreadCounts),
  }),
  z.object({
    type: z.literal("mention"),
    room: z.string(),
    message: z.uuid(),
    number: z.int(),
    by: person,
  }),
] as const;
