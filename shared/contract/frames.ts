import { z } from "zod";
import { role } from "./roles.ts";
import { messageError, messageResource, myRoomResource, person } from "./resources.ts";

const memberEntry = {
  room: z.string(),
  id: z.uuid(),
  number: z.int(),
  at: z.string(),
  user: person,
  role,
  by: z.string().nullable(),
};

/** An entry about a message; `message` is that message's id. */
const messageEntry = { room: z.string(), number: z.int(), at: z.string(), message: z.uuid() };
/** What Matrix refused, or gets again. */
const act = z.literal("message");

/**
 * What a client may receive as a publication's `data`, by `type`. Fields that are not named here are ignored: a newer
 * server may send them.
 */
export const publication = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message.created"), ...messageResource.shape }),
  z.object({ type: z.literal("message.failed"), ...messageEntry, act, error: messageError }),
  z.object({ type: z.literal("message.requeued"), ...messageEntry, act, error: z.null() }),
  z.object({
    type: z.literal("message.deleted"),
    ...messageEntry,
    by: person,
    reason: z.string().nullable(),
  }),
  z.object({ type: z.literal("sent"), room: z.string(), number: z.int() }),
  z.object({ type: z.literal("member.joined"), ...memberEntry }),
  z.object({ type: z.literal("member.left"), ...memberEntry }),
  z.object({ type: z.literal("member.changed"), ...memberEntry }),
  z.object({
    type: z.literal("room.changed"),
    room: z.string(),
    id: z.uuid(),
    number: z.int(),
    at: z.string(),
    changed: z.record(z.string(), z.string().nullable()),
  }),
  z.object({ type: z.literal("room.added"), room: myRoomResource }),
  z.object({ type: z.literal("room.removed"), room: z.string() }),
]);
export type Publication = z.infer<typeof publication>;

const typed = z.object({ type: z.string() });
const knownTypes: ReadonlySet<string> = new Set(
  publication.options.flatMap(({ shape }) => [...shape.type.values]),
);

/** Reads a publication. Null for a type of a newer server, which a client ignores. @throws a ZodError for a malformed one. */
export function parsePublication(data: unknown): Publication | null {
  return knownTypes.has(typed.parse(data).type) ? publication.parse(data) : null;
}

/** The types that stand in a room's timeline, with a number. */
export const entryType = z.enum([
  "message.created",
  "message.failed",
  "message.requeued",
  "message.deleted",
  "member.joined",
  "member.left",
  "member.changed",
  "room.changed",
]);
export type EntryType = z.infer<typeof entryType>;
