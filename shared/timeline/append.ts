import type { EntryType } from "../contract/frames.ts";
import type { Db } from "../db/connection/open.ts";
import type { Statement } from "../db/connection/pipelined-transaction.ts";
import {
  appendRows,
  lockTimelineRows,
  runAppend,
  type AppendedRow,
  type OfferedRow,
} from "../db/timeline/append.ts";

export type { AppendedRow } from "../db/timeline/append.ts";

/** What is to be appended to a room's timeline; it has no number yet. */
export type NewEntry = {
  /** Our message's id, or the external event's derived id: the timeline holds an entry once, however often it is offered. */
  entryId: string;
  /** Null for what we caused ourselves. */
  eventId: string | null;
  type: EntryType;
  /** Row id of the user, null for an unknown user. */
  senderId: string | null;
  /** Display name of an unknown sender. */
  senderName: string | null;
  /** See `Person`; absent where the user's row id is the ref. */
  senderRef?: string;
  clientId: string | null;
  /** The message that the entry is about; absent where it is about none. */
  relatesTo?: string;
  content: Record<string, unknown>;
  /** Null: the transaction's time. */
  at: Date | null;
};

export type RoomEntries = { roomId: string; entries: readonly NewEntry[] };

/**
 * Appends to the timelines of some rooms, inside the caller's transaction, and marks the rooms as due for the timeline
 * consumers. Numbers are given out under each room's row lock, rooms in id order, so that a timeline has no gap. An entry
 * that the timeline holds already is left out. Returns what was appended, in order. The rooms' rows stay locked until
 * the transaction ends.
 * @throws a unique violation when another transaction appended the same entry at the same moment: repeat the transaction.
 */
export async function appendEntries(trx: Db, rooms: readonly RoomEntries[]): Promise<AppendedRow[]> {
  const named = rooms.filter(({ entries }) => entries.length > 0);
  if (named.length === 0) return [];
  if (named.length > 1) await lockTimelineRows(trx, [...new Set(named.map(({ roomId }) => roomId))]);
  return runAppend(trx, appendStatement(named));
}

/** The statement that appends, on the same terms, where the rooms' timelines are locked already. Returns AppendedRow. */
export function appendStatement(rooms: readonly RoomEntries[]): Statement {
  const offered = rooms.flatMap(({ roomId, entries }) => entries.map((entry) => ({ roomId, entry })));
  return appendRows(withoutDuplicates(offered).map(toRow));
}

type Offered = { roomId: string; entry: NewEntry };

/** Keeps the first of those that have the same entry id or event id in a room. */
function withoutDuplicates(offered: readonly Offered[]): Offered[] {
  const seen = new Set<string>();
  return offered.filter(({ roomId, entry }) => {
    const names = [entry.entryId, entry.eventId].flatMap((id) => (id === null ? [] : [`${roomId} ${id}`]));
    const isNew = !names.some((name) => seen.has(name));
    if (isNew) for (const name of names) seen.add(name);
    return isNew;
  });
}

function toRow({ roomId, entry }: Offered, index: number): OfferedRow {
  return {
    room_id: roomId,
    position: index,
    entry_id: entry.entryId,
    event_id: entry.eventId,
    type: entry.type,
    sender_id: entry.senderId,
    sender_name: entry.senderName,
    sender_ref: entry.senderRef ?? null,
    client_id: entry.clientId,
    relates_to: entry.relatesTo ?? null,
    content: entry.content,
    at: entry.at?.toISOString() ?? null,
  };
}
