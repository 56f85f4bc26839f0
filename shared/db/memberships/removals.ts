import type { RoomKind } from "../../contract/names.ts";
import type { Role } from "../../contract/roles.ts";
import type { Standing } from "../../contract/permissions.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { lockMemberships } from "./lock-memberships.ts";
import { standingOf } from "./standing.ts";
import { membersDue } from "./members-due.ts";

/**
 * A removal on Matrix: somebody else kicked or banned a person, or the person left. It is settled once, by `workers/reconcile/removals/settle-removal.ts`.
 * In `memberships`:
 *
 * - `removal_event_id`: the event of a removal that is still to be settled. The sync writes it (`noteRemovals`), for
 *   members only.
 * - `settled_removal_id`: the event of the last removal that was settled. A person who becomes a member after it is not
 *   removed again by the same event.
 * - `is_banned`: Matrix shows a ban, as far as we know. A member's ban is undone, so the room's members are due.
 */

/** A removal that Matrix shows. `isBan`: the person cannot come back before somebody ends the ban. */
export type NotedRemoval = { roomId: string; userId: string; eventId: string; isBan: boolean };

/** Records removals; the last one of a room and user counts. The members of their rooms are due. */
export function noteRemovals(removals: readonly NotedRemoval[]): Statement {
  const last = new Map(removals.map((removal) => [`${removal.roomId} ${removal.userId}`, removal]));
  const rows = [...last.values()];
  return {
    sql: `with m as (
       select * from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[]), cast(:eventIds as text[]), cast(:bans as boolean[]))
                  as m(room_id, user_id, event_id, is_ban)
     ), noted as (
       update memberships s
          set is_banned = w.is_ban,
              removal_event_id = case when s.desired = 'in' then w.event_id end,
              settled_removal_id = case when s.desired = 'in' then s.settled_removal_id else w.event_id end
         from (${lockMemberships("select * from m")}) w
        where s.room_id = w.room_id and s.user_id = w.user_id and s.settled_removal_id is distinct from w.event_id
       returning s.room_id, s.desired
     )
     update rooms set ${membersDue()}
      where id in (select room_id from noted where desired = 'in') and deleted_at is null`,
    bindings: {
      roomIds: rows.map(({ roomId }) => roomId),
      userIds: rows.map(({ userId }) => userId),
      eventIds: rows.map(({ eventId }) => eventId),
      bans: rows.map(({ isBan }) => isBan),
    },
  };
}

/** A member who was removed on Matrix. */
export type RemovedMember = { userId: string; matrixUserId: string };

/** The members of a room whose removal is to be settled, or whose ban is to be undone. */
export function listRemovedMembers(db: Db, roomId: string, limit: number): Promise<RemovedMember[]> {
  return rowsOf<RemovedMember>(
    db,
    `select s.user_id as "userId", u.matrix_user_id as "matrixUserId"
       from memberships s join users u on u.id = s.user_id
      where s.room_id = :roomId and (s.removal_event_id is not null or s.is_banned and s.desired = 'in')
      order by s.user_id limit :limit`,
    { roomId, limit },
  );
}

/** What decides about a removal. `actor`: the member who removed; null when that is no member of the room. */
export type RemovalRow = {
  kind: RoomKind;
  role: Role;
  isMember: boolean;
  isSettled: boolean;
  /** The person became a member, or was given another role, after the removal. */
  isOlderThanMembership: boolean;
  actor: { id: string; user: string; standing: Standing } | null;
};

/**
 * What decides about a removal, where the room's outbox is locked: no other transaction changes memberships meanwhile. Undefined for one
 * who never was a member.
 */
export async function findRemoval(
  trx: Db,
  roomId: string,
  removal: { userId: string; eventId: string; sender: string; atMs: number },
): Promise<RemovalRow | undefined> {
  const rows = await rowsOf<RemovalRow>(
    trx,
    `select r.kind, s.role, s.desired = 'in' as "isMember", s.settled_removal_id is not distinct from :eventId as "isSettled",
            s.updated_at > to_timestamp(:atMs / 1000.0) as "isOlderThanMembership",
            (select jsonb_build_object('id', a.id, 'user', a.external_id, 'standing', ${standingOf("p", "r")})
               from users a join memberships p on p.user_id = a.id and p.room_id = r.id and p.desired = 'in'
              where a.matrix_user_id = :sender and a.tenant_id = r.tenant_id and a.deleted_at is null) as actor
       from memberships s join rooms r on r.id = s.room_id
      where s.room_id = :roomId and s.user_id = :userId`,
    { roomId, ...removal },
  );
  return rows[0];
}

/** The removal of a person that is still to be settled, by its event; null when there is none. Read it before Matrix. */
export async function findNotedRemoval(db: Db, roomId: string, userId: string): Promise<string | null> {
  const rows = await rowsOf<{ removal_event_id: string | null }>(
    db,
    "select removal_event_id from memberships where room_id = ? and user_id = ?",
    [roomId, userId],
  );
  return rows[0]?.removal_event_id ?? null;
}

/** Records that a removal is settled: the person is out on Matrix. One that was noted after `noted` stays to be settled. */
export async function markRemovalSettled(
  trx: Db,
  { roomId, userId, eventId, isBan }: NotedRemoval,
  noted: string | null,
): Promise<void> {
  await execute(
    trx,
    `update memberships
        set applied = 'out', is_banned = :isBan, settled_removal_id = :eventId,
            removal_event_id = case when removal_event_id in (:noted, :eventId) then null else removal_event_id end
      where room_id = :roomId and user_id = :userId`,
    { roomId, userId, eventId, isBan, noted },
  );
}

/**
 * Records that Matrix shows no removal of a person any more: the person is there, left by themselves, or was unbanned. One
 * that was noted after `noted` stays.
 */
export async function clearRemoval(
  db: Db,
  { roomId, userId }: { roomId: string; userId: string },
  noted: string | null,
): Promise<void> {
  await execute(
    db,
    `update memberships set is_banned = false, removal_event_id = null
      where room_id = :roomId and user_id = :userId and removal_event_id is not distinct from cast(:noted as text)`,
    { roomId, userId, noted },
  );
}
