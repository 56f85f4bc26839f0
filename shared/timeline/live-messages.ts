import { z } from "zod";

/**
 * A message on a room's live channel and in its stream. A reader ignores fields that it does not know, so that versions
 * may differ during an upgrade. `number` null: not part of the timeline. Such an event is delivered after the entry `after`
 * in `epoch`, or at once without an `after`. `leaver`: the user (row id) whose subscription ends before the entry is
 * delivered. `requestId`: the request that caused it. `data` is a publication as JSON text, which is not parsed here.
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

/** A message on a user's live channel: a user event (`hint`), or a control message to the processes with the user's sockets. */
export const userLiveMessage = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hint"), offset: z.int(), epoch: z.string(), data: z.string() }),
  z.strictObject({ kind: z.literal("subscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("unsubscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("disconnect"), code: z.int() }),
]);
export type UserLiveMessage = z.infer<typeof userLiveMessage>;

/** A change of the rooms of a user, or the close of all of its connections. */
export type ControlMessage = Exclude<UserLiveMessage, { kind: "hint" }>;
