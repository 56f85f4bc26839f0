import { z } from "zod";
import { messagePublications } from "./publications/messages.ts";
import { signPublications } from "./publications/signs.ts";
import { userPublications } from "./publications/user.ts";
import { myRoomResource, person } from "./resources.ts";
import { role } from "./roles.ts";

const memberEntry = {
  room: z.string(),
  id: z.uuid(),
  number: z.int(),
  at: z.string(),
  user: person,
  role,
  mutedUntil: z.string().nullable().default(null),
  by: z.string().nullable(),
};

/**
 * What a client may receive as a publication's `data`, by `type`. Fields that are not named here are ignored: a newer
 * server may send them.
 */
export const publication = z.discriminatedUnion("type", [
  ...messagePublications,
  ...signPublications,
  ...userPublications,
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
    by: z.string().nullable().default(null),
  }),
  z.object({ type: z.literal("room.added"), room: myRoomResource }),
  // `movedTo`: the room was renamed, and has this key now.
  z.object({ type: z.literal("room.removed"), room: z.string(), movedTo: z.string().optional() }),
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
  "message.edited",
  "reaction.added",
  "reaction.removed",
  "message.pinned",
  "message.unpinned",
  "message.failed",
  "message.requeued",
  "message.deleted",
  "member.joined",
  "member.left",
  "member.changed",
  "room.changed",
]);
export type EntryType = z.infer<typeof entryType>;
