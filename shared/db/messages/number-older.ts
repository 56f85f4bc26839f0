import { DEFAULT_KIND, ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transactPipelined, type Statement } from "../connection/pipelined-transaction.ts";
import { countReopened } from "../rooms/room-mirrors.ts";
import { appendingCtes, lockTimeline, SELECT_APPENDED, type AppendedRow } from "../timeline/append.ts";

/*
 * For one version: processes of version 0.2 accept messages without a number. Whatever appends to a room's timeline on behalf
 * of such messages gives numbers to all of the room's, in the order in which they were accepted.
 */

/** The parameters of `OFFERED_MESSAGES` and of `appendingCtes`. */
export const OFFERED_BINDINGS = {
  unread: [...UNREAD_ENTRY_TYPES],
  entryTypes: JSON.stringify(ENTRY_TYPES),
  defaultKind: DEFAULT_KIND,
};

/** The columns of a message that is offered to its timeline, of `m`. */
export const OFFERED_COLUMNS = `
  m.id, m.tenant_id, m.room_id, m.sender_id, m.client_id, m.request_id, m.content, m.order_number, m.status, m.accepted_at`;

/** Offers the messages of the CTE `placed` to their timelines: see `appendingCtes`. Bind OFFERED_BINDINGS. */
export const OFFERED_MESSAGES = `
  select room_id, row_number() over (order by room_id, order_number) as position, id as entry_id, cast(null as text) as event_id,
         cast(:entryTypes as jsonb) ->> coalesce(content ->> 'kind', :defaultKind) as type, sender_id, cast(null as text) as sender_name,
         cast(null as uuid) as sender_ref, false as scrubs, client_id, cast(null as uuid) as relates_to, content, accepted_at as at, status, request_id, order_number,
         row_number() over (partition by room_id order by order_number) as place,
         row_number() over (partition by room_id order by order_number) as message_place
    from placed`;

/** The body of a CTE that marks the unnumbered messages of rooms as numbered. `rooms`: a query of room_ids. */
export function markOlder(rooms: string): string {
  return `
    update messages m set numbered = true from (${rooms}) a
     where m.room_id = a.room_id and m.open and not m.numbered
       and not exists (select 1 from timeline e where e.room_id = m.room_id and e.entry_id = m.id)
    returning ${OFFERED_COLUMNS}`;
}

const NUMBER_OLDER = `
  with placed as (${markOlder("select unnest(cast(:roomIds as uuid[])) as room_id")}), waiting as (${countReopened("placed")}),
  ${appendingCtes(OFFERED_MESSAGES)}
  ${SELECT_APPENDED}`;

/** Numbers the unnumbered messages of rooms whose timelines are locked. Returns AppendedRow. */
export function numberOlder(roomIds: readonly string[]): Statement {
  return { sql: NUMBER_OLDER, bindings: { roomIds: [...roomIds], ...OFFERED_BINDINGS } };
}

/** Numbers all unnumbered messages of one room, in a transaction of its own. Returns their entries, to be published. */
export async function numberRoom(db: Db, roomId: string): Promise<AppendedRow[]> {
  const [, rows] = await transactPipelined<[unknown[], AppendedRow[]]>(db, [
    lockTimeline(roomId),
    numberOlder([roomId]),
  ]);
  return rows;
}

/** Rooms with unnumbered messages. */
export async function findRoomsToNumber(db: Db, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    db,
    "select distinct room_id from messages where open and not numbered limit ?",
    [limit],
  );
  return rows.map(({ room_id }) => room_id);
}
