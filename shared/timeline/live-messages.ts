import { z } from "zod";

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
