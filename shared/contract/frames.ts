import { z } from "zod";
import { role } from "./names.ts";
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

/**
 * What travels on a room's live channel and stands in its stream; a reader passes over fields that it does not know, so
 * that versions may differ during an upgrade. `number` null: not part of the timeline, and told only where everything up
 * to `after` in `epoch` was told; at once without an `after`. `leaver`: the user (row id) who must be dropped from the room
 * before anybody is told. `requestId`: of the request that a message came with. `data` is a publication as JSON text,
 * carried unparsed.
 */
export const roomLiveMessage = z.object({
  number: z.int().nullable(),
  after: z.int().optional(),
  epoch: z.string(),
  leaver: z.uuid().nullable(),
  requestId: z.string().nullable().default(null),
  data: z.string(),
});
export type RoomLiveMessage = z.infer<typeof roomLiveMessage>;

/** What travels on a user's live channel: a hint to pass on, or an order to the node that holds the user's sockets. */
export const userLiveMessage = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hint"), offset: z.int(), epoch: z.string(), data: z.string() }),
  z.strictObject({ kind: z.literal("subscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("unsubscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("disconnect"), code: z.int() }),
]);
export type UserLiveMessage = z.infer<typeof userLiveMessage>;
