import { z } from "zod";
import { role } from "./roles.ts";
import { messageResource, myRoomResource, person } from "./resources.ts";

const memberEntry = {
  room: z.string(),
  id: z.uuid(),
  number: z.int(),
  at: z.string(),
  user: person,
  role,
  by: z.string().nullable(),
};

/** Everything a client may receive as a publication's `data`, by `type`. */
export const publication = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("message.created"), ...messageResource.shape }),
  z.strictObject({ type: z.literal("message.pending"), ...messageResource.shape }),
  z.strictObject({
    type: z.literal("message.failed"),
    room: z.string(),
    id: z.uuid(),
    error: z.strictObject({ code: z.string(), message: z.string() }),
  }),
  z.strictObject({ type: z.literal("member.joined"), ...memberEntry }),
  z.strictObject({ type: z.literal("member.left"), ...memberEntry }),
  z.strictObject({ type: z.literal("member.changed"), ...memberEntry }),
  z.strictObject({
    type: z.literal("room.changed"),
    room: z.string(),
    id: z.uuid(),
    number: z.int(),
    at: z.string(),
    changed: z.record(z.string(), z.string().nullable()),
  }),
  z.strictObject({ type: z.literal("room.added"), room: myRoomResource }),
  z.strictObject({ type: z.literal("room.removed"), room: z.string() }),
]);
export type Publication = z.infer<typeof publication>;

/** The types that stand in a room's timeline, with a number. */
export const entryType = z.enum([
  "message.created",
  "member.joined",
  "member.left",
  "member.changed",
  "room.changed",
]);
export type EntryType = z.infer<typeof entryType>;
