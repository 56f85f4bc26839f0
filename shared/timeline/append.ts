import type { Statement } from "../db/connection/pipelined-transaction.ts";
import { rowsOf, type Db } from "../db/connection/open.ts";
import { UNREAD_ENTRY_TYPES } from "../contract/content/index.ts";
import type { EntryType } from "../contract/frames.ts";
import { ENTRY_COLUMNS, ENTRY_JOINS, type EntryRow } from "./read.ts";

/** What is to be told in a room's timeline; it has no number yet. */
export type NewEntry = {
  /** Our message's id, or the foreign event's derived id: the entry is told once however often it is offered. */
  entryId: string;
  /** Null for what we caused ourselves. */
  eventId: string | null;
  type: EntryType;
  /** Row id of the user, null for somebody the tenant does not know. */
  senderId: string | null;
  /** Display name of an unknown sender. */
  senderName: string | null;
  clientId: string | null;
  content: Record<string, unknown>;
  /** Null: the transaction's time. */
  at: Date | null;
};

export type RoomEntries = { roomId: string; entries: readonly NewEntry[] };

/** Where a room's timeline and its stream stand. */
export type RoomState = { room_id: string; epoch: string; last_number: number; published_number: number };

/** An entry that was appended, ready to be published; its room's state as the appending left it. */
export type AppendedRow = EntryRow & RoomState;

/**
 * Appends to the timelines of some rooms, inside the caller's transaction. Numbers are allotted under each room's row
 * lock, rooms in id order, so that a timeline has no gap; an entry that is there already is left out. Returns what was
 * appended, in order. The rooms' rows stay locked until the transaction ends.
 * @throws a unique violation when somebody appended the same entry at the same moment: the transaction is repeated.
 */
export async function appendEntries(trx: Db, rooms: readonly RoomEntries[]): Promise<AppendedRow[]> {
  const named = rooms.filter(({ entries }) => entries.length > 0);
  if (named.length === 0) return [];
  if (named.length > 1) {
    await trx.raw("select 1 from room_timeline where room_id = any(?) order by room_id for update", [
      [...new Set(named.map(({ roomId }) => roomId))],
    ]);
  }
  const { sql, bindings } = appendStatement(named);
  return rowsOf<AppendedRow>(trx, sql, bindings);
}

/** The statement that appends, under the same terms, where the rooms' timelines are locked already. Answers AppendedRow. */
export function appendStatement(rooms: readonly RoomEntries[]): Statement {
  const offered = withoutDoubles(
    rooms.flatMap(({ roomId, entries }) => entries.map((entry) => ({ roomId, entry }))),
  );
  return {
    sql: APPEND,
    bindings: { rows: JSON.stringify(offered.map(toRow)), unread: [...UNREAD_ENTRY_TYPES] },
  };
}

type Offered = { roomId: string; entry: NewEntry };
/** The first of those that speak of the same thing. */
function withoutDoubles(offered: readonly Offered[]): Offered[] {
  const seen = new Set<string>();
  return offered.filter(({ roomId, entry }) => {
    const names = [entry.entryId, entry.eventId].flatMap((id) => (id === null ? [] : [`${roomId} ${id}`]));
    const isNew = !names.some((name) => seen.has(name));
    if (isNew) for (const name of names) seen.add(name);
    return isNew;
  });
}

function toRow({ roomId, entry }: Offered, index: number) {
  return {
    room_id: roomId,
    position: index,
    entry_id: entry.entryId,
    event_id: entry.eventId,
    type: entry.type,
    sender_id: entry.senderId,
    sender_name: entry.senderName,
    client_id: entry.clientId,
    content: entry.content,
    at: entry.at?.toISOString() ?? null,
  };
}

/**
 * A statement that appends what `offered` names: the body of a CTE with the columns of a NewEntry, the `position` of each
 * in all and its `place` in its room; bind `unread` to UNREAD_ENTRY_TYPES. Where the rooms' timelines are locked already. Answers AppendedRow.
 */
export function appendOffered(offered: string): string {
  return `
     with offered as (${offered}), counted as (${COUNTED}), bumped as (${BUMPED}), inserted as (${INSERTED})
     select ${ENTRY_COLUMNS}, b.epoch, b.last_number, b.published_number
       from inserted e join bumped b using (room_id) ${ENTRY_JOINS}
      order by e.room_id, e.number`;
}

/** Of `o`: what is not in its room's timeline yet. */
export const IS_NEW = `
  not exists (select 1 from timeline t where t.room_id = o.room_id and t.entry_id = o.entry_id)
  and not exists (select 1 from timeline t where t.room_id = o.room_id and t.event_id = o.event_id)`;

const COUNTED = `
  select room_id, count(*) as added, count(*) filter (where type = any(:unread)) as messages,
         max(place) filter (where type = any(:unread)) as last_message_place,
         max(coalesce(at, now())) filter (where type = any(:unread)) as last_message_at
    from offered group by room_id`;

const BUMPED = `
  update room_timeline t
     set last_number = t.last_number + c.added,
         message_count = t.message_count + c.messages,
         last_message_number = coalesce(t.last_number + c.last_message_place, t.last_message_number),
         last_message_at = coalesce(c.last_message_at, t.last_message_at)
    from counted c where t.room_id = c.room_id
  returning t.room_id, t.tenant_id, t.epoch, t.last_number, t.published_number, t.last_number - c.added as base`;

const INSERTED = `
  insert into timeline (room_id, number, tenant_id, entry_id, event_id, type, sender_id, sender_name, client_id, content, at)
  select o.room_id, b.base + o.place, b.tenant_id, o.entry_id, o.event_id, o.type, o.sender_id, o.sender_name,
         o.client_id, o.content, coalesce(o.at, now())
    from offered o join bumped b using (room_id)
   order by o.position
  returning *`;

const APPEND = appendOffered(`
  select o.*, row_number() over (partition by room_id order by position) as place
    from jsonb_to_recordset(cast(:rows as jsonb)) as o(room_id uuid, position int, entry_id uuid, event_id text, type text,
         sender_id uuid, sender_name text, client_id text, content jsonb, at timestamptz)
   where ${IS_NEW}`);
