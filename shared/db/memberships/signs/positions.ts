import { BIG_ROOM_MEMBERS } from "../../../contract/big-room.ts";
import { UNREAD_ENTRY_TYPES } from "../../../contract/content/index.ts";
import type { RoomAddress } from "../../../contract/names.ts";
import { rolesAllowed } from "../../../contract/permissions.ts";
import type { Role } from "../../../contract/roles.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import { lockMemberships } from "../lock-memberships.ts";
import { FIRST_UNREAD, MENTIONS, UNREAD } from "./unread.ts";

/**
 * How far a member has read. `read_number` moves forward by reading and by posting, and back when messages are marked as unread;
 * `receipt_number`, which others may see, only forward. `read_count` and `own_above` follow `read_number`: see `unread.ts`.
 * Reading locks the row of the membership alone, so it delays no message.
 */
export type Position = RoomAddress & {
  room_id: string;
  user_id: string;
  tenant_id: string;
  epoch: string;
  role: Role;
  member_count: number;
  read_number: number;
  receipt_number: number;
  external_id: string;
  display_name: string | null;
  avatar: string | null;
  unread: number;
  mentions: number;
  first_unread: number | null;
};

/** A position after a change. `has_moved`: it changed. `has_receipt`: the receipt did, too, and the room is not blocked. */
export type MovedPosition = Position & { has_moved: boolean; has_receipt: boolean };

/** Who reads up to which entry. */
export type Reading = { roomId: string; userId: string; number: number };

// Of `moved m`, a membership as it is now. The columns of a Position.
const POSITION_COLUMNS = `
  m.room_id, m.user_id, m.tenant_id, m.role, m.read_number, m.receipt_number, t.epoch, r.kind, r.slug, r.member_count,
  u.external_id, u.display_name, u.avatar, ${UNREAD("m")} as unread, ${MENTIONS("m")} as mentions, ${FIRST_UNREAD("m")} as first_unread`;
const POSITION_JOINS = `
  join room_timeline t on t.room_id = m.room_id join rooms r on r.id = m.room_id join users u on u.id = m.user_id`;

/** How many messages a room has up to the number `n`; entries of version 0.3 have no ordinal, and are counted. */
const countUpTo = (n: string) => `
  coalesce((
    select coalesce(e.ordinal - 1, t.message_count - (
             select count(*) from timeline l where l.room_id = t.room_id and l.number > ${n} and l.type = any(:unread)))
      from timeline e where e.room_id = t.room_id and e.number > ${n} and e.type = any(:unread)
     order by e.number limit 1), t.message_count)`;

/**
 * CTEs that move positions forward to what `wanted` says: the body of a CTE with `room_id`, `user_id` and `number`, one row for
 * each membership; of several, `lockMemberships`. `moved` are the memberships that changed. Bind `unread` to UNREAD_ENTRY_TYPES.
 */
const movingCtes = (wanted: string) => `
  wanted as (${wanted}),
  reached as (
    select w.room_id, w.user_id, least(w.number, t.last_number) as number, p.receipt_number as receipt_before,
           ${countUpTo("least(w.number, t.last_number)")} as count,
           case when p.own_above = 0 then 0 else (
             select count(*) from timeline e where e.room_id = w.room_id and e.number > w.number and e.sender_id = w.user_id
                and e.type = any(:unread)) end as own_above
      from wanted w join room_timeline t on t.room_id = w.room_id
      join memberships p on p.room_id = w.room_id and p.user_id = w.user_id and p.desired = 'in'
  ),
  moved as (
    update memberships s
       set read_count = case when a.number > s.read_number then a.count else s.read_count end,
           own_above = case when a.number > s.read_number then a.own_above else s.own_above end,
           read_number = greatest(s.read_number, a.number), receipt_number = greatest(s.receipt_number, a.number)
      from reached a
     where s.room_id = a.room_id and s.user_id = a.user_id and s.desired = 'in'
       and (a.number > s.read_number or a.number > s.receipt_number)
    returning s.*, a.receipt_before, true as has_moved
  )`;

const MOVED_COLUMNS = `${POSITION_COLUMNS}, m.has_moved, m.receipt_number > m.receipt_before and not r.is_blocked as has_receipt`;

const READ_UP_TO = `
  with ${movingCtes("select cast(:roomId as uuid) as room_id, cast(:userId as uuid) as user_id, cast(:number as bigint) as number")}
  select ${MOVED_COLUMNS} from (
    select moved.* from moved
    union all
    select s.*, s.receipt_number, false from memberships s where s.room_id = :roomId and s.user_id = :userId and s.desired = 'in'
       and not exists (select 1 from moved)) m ${POSITION_JOINS}`;

/**
 * Moves a member's position forward: to an entry, or to the newest one where the number is beyond it. A position that is
 * further already stays. Returns the position, undefined for one who is no member. One statement.
 */
export async function readUpTo(db: Db, reading: Reading): Promise<MovedPosition | undefined> {
  const [row] = await rowsOf<MovedPosition>(db, READ_UP_TO, { ...reading, unread: [...UNREAD_ENTRY_TYPES] });
  return row;
}

/** So many messages may be marked as unread: those above the position are counted once. */
export const MARKED_AT_MOST = 10_000;

const MARK_UNREAD = `
  with place as (
    select s.room_id, s.user_id, t.message_count, least(greatest(:number, 1), t.last_number + 1) as number
      from memberships s join room_timeline t on t.room_id = s.room_id
     where s.room_id = :roomId and s.user_id = :userId and s.desired = 'in'
  ), counted as (
    select p.*, c.above, c.own from place p cross join lateral (
      select count(*) as above, count(*) filter (where x.sender_id = p.user_id) as own from (
        select e.sender_id from timeline e where e.room_id = p.room_id and e.number >= p.number and e.type = any(:unread)
         order by e.number desc limit ${MARKED_AT_MOST + 1}) x) c
  ), moved as (
    update memberships s set read_number = c.number - 1, read_count = c.message_count - c.above, own_above = c.own
      from counted c
     where s.room_id = c.room_id and s.user_id = c.user_id and s.desired = 'in' and c.above <= ${MARKED_AT_MOST}
    returning s.*
  )
  select ${POSITION_COLUMNS} from moved m ${POSITION_JOINS}`;

/**
 * Marks a room as unread from a message on. Returns the position; undefined when more than MARKED_AT_MOST messages stand above
 * it, or for one who is no member.
 */
export async function markUnreadFrom(db: Db, reading: Reading): Promise<Position | undefined> {
  const [row] = await rowsOf<Position>(db, MARK_UNREAD, { ...reading, unread: [...UNREAD_ENTRY_TYPES] });
  return row;
}

/** A receipt as Matrix shows it. */
export type MatrixReceipt = { matrixRoomId: string; matrixUserId: string; eventId: string };

// An event that is no entry stands for the newest entry: what Matrix has between the two is not known. Only a receipt that
// moves forward counts: our own come back. Those of guests are none.
const RECEIVE = `
  with given as (
    select g.* from jsonb_to_recordset(cast(:receipts as jsonb)) as g("matrixRoomId" text, "matrixUserId" text, "eventId" text)
  ), ${movingCtes(
    lockMemberships(`
    select s.room_id, s.user_id, max(coalesce(n.number, t.last_number)) as number
      from given g
      join rooms r on r.observer_id = :observerId and r.matrix_room_id = g."matrixRoomId" and r.deleted_at is null
      join room_timeline t on t.room_id = r.id
      join users u on u.tenant_id = r.tenant_id and u.matrix_user_id = g."matrixUserId" and u.deleted_at is null
      join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and s.role = any(:readers)
      left join lateral (
        select e.number from timeline e where e.room_id = r.id and e.event_id = g."eventId"
        union all
        select e.number from messages m join timeline e on e.room_id = m.room_id and e.entry_id = m.id
         where m.room_id = r.id and m.seen_event_id = g."eventId"
        limit 1) n on true
     where coalesce(n.number, t.last_number) > s.receipt_number
     group by s.room_id, s.user_id`),
  )}
  select ${MOVED_COLUMNS} from moved m ${POSITION_JOINS}`;

/** Moves the positions of those whose receipts an observer has read. Returns those that moved. One statement. */
export function receiveReceipts(
  db: Db,
  observerId: string,
  receipts: readonly MatrixReceipt[],
): Promise<MovedPosition[]> {
  return rowsOf<MovedPosition>(db, RECEIVE, {
    observerId,
    receipts: JSON.stringify(receipts),
    readers: [...rolesAllowed("send receipts")],
    unread: [...UNREAD_ENTRY_TYPES],
  });
}

/** A message that was deleted. */
export type DeletedMessage = { roomId: string; messageId: string };

/** The positions of those who had not read some deleted messages; none of big rooms. One query. */
export function findPositionsBelow(db: Db, deleted: readonly DeletedMessage[]): Promise<Position[]> {
  return rowsOf<Position>(
    db,
    `select ${POSITION_COLUMNS} from (
       select distinct s.* from jsonb_to_recordset(cast(:deleted as jsonb)) as g("roomId" uuid, "messageId" uuid)
         join rooms r on r.id = g."roomId" and r.deleted_at is null and r.member_count <= ${BIG_ROOM_MEMBERS}
         join timeline e on e.room_id = g."roomId" and e.entry_id = g."messageId"
         join memberships s on s.room_id = e.room_id and s.desired = 'in' and s.read_number < e.number
          and s.user_id is distinct from e.sender_id) m ${POSITION_JOINS}`,
    { deleted: JSON.stringify(deleted), unread: [...UNREAD_ENTRY_TYPES] },
  );
}

/** How far the members of a room have read, as others may see it: nobody who has read nothing, and none in a big room. */
export function listReceipts(
  db: Db,
  roomId: string,
): Promise<Pick<Position, "user_id" | "external_id" | "display_name" | "avatar" | "receipt_number">[]> {
  return rowsOf(
    db,
    `select s.user_id, u.external_id, u.display_name, u.avatar, s.receipt_number
       from rooms r join memberships s on s.room_id = r.id join users u on u.id = s.user_id and u.deleted_at is null
      where r.id = :roomId and r.member_count <= ${BIG_ROOM_MEMBERS} and not r.is_blocked and s.desired = 'in' and s.role = any(:readers) and s.receipt_number > 0
      order by u.external_id collate "C"`,
    { roomId, readers: [...rolesAllowed("send receipts")] },
  );
}
