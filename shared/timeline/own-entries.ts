import { newId } from "../platform/ids.ts";
import type { Role } from "../contract/roles.ts";
import type { NewEntry } from "./append.ts";

/** An entry about a member. `by`: the user who caused it; null for the tenant's backend. */
export function memberEntry(
  type: "member.joined" | "member.changed" | "member.left",
  userId: string,
  { role, mutedUntil = null }: { role: Role; mutedUntil?: Date | null },
  by: string | null = null,
): NewEntry {
  const content = { role, by, ...(mutedUntil === null ? {} : { mutedUntil: mutedUntil.toISOString() }) };
  return { ...ownEntry(), type, senderId: userId, content };
}

/**
 * An entry about the room itself; `changed`: the new values by name. `by`: the user who changed it; null for the tenant's backend.
 */
export function roomChangedEntry(
  changed: Record<string, string | number | null>,
  by: string | null = null,
): NewEntry {
  const texts = Object.fromEntries(
    Object.entries(changed).map(([name, value]) => [name, value === null ? null : String(value)]),
  );
  return {
    ...ownEntry(),
    type: "room.changed",
    senderId: null,
    content: { changed: texts, ...(by === null ? {} : { by }) },
  };
}

/** How many members a room has: in big rooms, instead of an entry for each member. */
export function memberCountEntry(count: number): NewEntry {
  return roomChangedEntry({ members: String(count) });
}

function ownEntry(): Omit<NewEntry, "type" | "senderId" | "content"> {
  return { entryId: newId(), eventId: null, senderName: null, clientId: null, at: null };
}
