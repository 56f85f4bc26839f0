import { z } from "zod";

/**
 * A message on a room's live channel and in its stream. Readers ignore unknown fields, because the versions of the
 * processes differ during an upgrade.
 * `number`: the entry's number in the timeline; null for an unnumbered event.
 * `after`: an unnumbered event is delivered after the entry of this number in `epoch`; without it, at once.
 * `scrubs`: of the room's stream in this epoch, see `room_timeline`; absent for 0.
 * `leaver`: the row id of the removed user, whose subscription ends before the entry is delivered.
 * `requestId`: the request that caused it.
 * `data`: the publication as JSON text, which no schema parses here.
 */
export const roomLiveMessage = z.object({
  number: z.int().nullable(),
  after: z.int().optional(),
  epoch: z.string(),
  scrubs: z.int().optional(),
  leaver: z.uuid().nullable(),
  requestId: z.string().nullable().default(null),
  data: z.string(),
});
export type RoomLiveMessage = z.infer<typeof roomLiveMessage>;

/** A message on a user's live channel: a user event (kind `hint`), or a control message to the processes that hold the user's sockets. */
export const userLiveMessage = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hint"), offset: z.int(), epoch: z.string(), data: z.string() }),
  z.strictObject({ kind: z.literal("subscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("unsubscribe"), roomId: z.uuid() }),
  z.strictObject({ kind: z.literal("disconnect"), code: z.int(), issuedBeforeMs: z.int().optional() }),
  z.strictObject({ kind: z.literal("close-socket"), connection: z.uuid(), code: z.int() }),
]);
export type UserLiveMessage = z.infer<typeof userLiveMessage>;

/**
 * Subscribes or unsubscribes a room for all of a user's connections, closes one of them, or closes them: with
 * `issuedBeforeMs` those alone whose token was signed before.
 */
export type ControlMessage = Exclude<UserLiveMessage, { kind: "hint" }>;
