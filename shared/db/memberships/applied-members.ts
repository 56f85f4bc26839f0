import { rolesAllowed, type Posting } from "../../contract/permissions.ts";
import { ROLES_WITH_LEVEL, type Role } from "../../contract/roles.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { lockMemberships } from "./lock-memberships.ts";
import { membersDue } from "./members-due.ts";
import { LEVEL } from "./standing.ts";

/** Who is on Matrix: the applied side of memberships, which the membership job and the joins before a message write. */

/** A member whose state on Matrix is not the desired one. */
export type MemberMove = {
  user_id: string;
  matrix_user_id: string;
  is_registered: boolean;
  version: number;
  /** What Matrix should have. */
  target: "in" | "out";
  applied: "in" | "out";
};

/** When members are joined on Matrix: as soon as they may react, or once they have opened the room. */
export type JoinPolicy = "eager" | "lazy";

/** A change that only lowers rights waits for the messages accepted before it, this long at most. */
const LOWERING_WAITS_MS = 55_000;

/** Whether the member of `s` is to be in the room on Matrix, see `isOnMatrix`. Bind JOINING. */
const JOINS =
  "(s.role = any(:joining) or exists (select 1 from rooms d where d.id = s.room_id and d.kind = 'direct'))";

/**
 * Whether the last change of the membership `s` has only lowered its rights, and messages accepted before it are still to be sent:
 * Matrix follows after them. A removal is none: it is applied at once. Bind JOINING.
 */
const IS_LOWERING_LATER = `
  (s.desired = 'in' and s.updated_at > now() - interval '${String(LOWERING_WAITS_MS)} milliseconds'
   and (not ${JOINS} or ${LEVEL} < s.applied_level)
   and exists (select 1 from messages m
                where m.room_id = s.room_id and m.sender_id = s.user_id and m.open and m.status in ('queued', 'sending')
                  and m.accepted_at <= s.updated_at))`;

const JOINING = { joining: [...rolesAllowed("react")] };

/** The same of a room `r` in which fewer people may write since a change of it. */
const IS_ROOM_LOWERED_LATER = `
  coalesce(r.rights_lowered_at > now() - interval '${String(LOWERING_WAITS_MS)} milliseconds'
   and exists (select 1 from messages m
                where m.room_id = r.id and m.open and m.status in ('queued', 'sending') and m.accepted_at <= r.rights_lowered_at), false)`;

/** Whether a room has members whose rights are lowered later. */
export async function hasLoweringsLater(db: Db, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 as found from memberships s where s.room_id = :roomId and ${IS_LOWERING_LATER}
      union all select 1 from rooms r where r.id = :roomId and ${IS_ROOM_LOWERED_LATER} limit 1`,
    { roomId, ...JOINING },
  );
  return rows.length > 0;
}

/** Who may write in a room. `isLoweredLater`: there were more, and what they wrote before is still to be sent. */
export type Writers = { posting: Posting; isBlocked: boolean; isLoweredLater: boolean };

export async function findWriters(db: Db, roomId: string): Promise<Writers> {
  const [row] = await rowsOf<Writers>(
    db,
    `select r.posting, r.is_blocked as "isBlocked", ${IS_ROOM_LOWERED_LATER} as "isLoweredLater" from rooms r where r.id = :roomId`,
    { roomId },
  );
  return row ?? { posting: "everyone", isBlocked: false, isLoweredLater: false };
}

/** The members of a room to move on Matrix, removals first; without those whose rights are lowered later. */
export function listMemberMoves(
  db: Db,
  roomId: string,
  { joinPolicy, limit }: { joinPolicy: JoinPolicy; limit: number },
): Promise<MemberMove[]> {
  return rowsOf<MemberMove>(
    db,
    `select s.user_id, u.matrix_user_id, u.applied_version > 0 as is_registered, s.version, s.applied,
            case when s.desired = 'in' and ${JOINS} then 'in' else 'out' end as target
       from memberships s join users u on u.id = s.user_id
      where s.room_id = :roomId
        and (s.version <> s.applied_version
          or s.applied = 'in' and (s.desired = 'out' or not ${JOINS})
          or s.applied = 'out' and s.desired = 'in' and ${JOINS} and s.error is null
             and (:joinPolicy = 'eager' or s.opened_at is not null))
        and not ${IS_LOWERING_LATER}
      order by s.desired desc, s.updated_at
      limit :limit`,
    { roomId, joinPolicy, limit, ...JOINING },
  );
}

/** Marks the memberships applied that need nothing on Matrix: ended ones, readers, and with `lazy` who has not opened the room. */
export async function markAppliedWithoutMatrix(
  db: Db,
  roomId: string,
  joinPolicy: JoinPolicy,
): Promise<void> {
  await execute(
    db,
    `update memberships s set applied_version = version, error = null
      where s.room_id = :roomId and s.version <> s.applied_version and s.applied = 'out'
        and (s.desired = 'out' or not ${JOINS} or (:joinPolicy = 'lazy' and s.opened_at is null))
        and not ${IS_LOWERING_LATER}`,
    { roomId, joinPolicy, ...JOINING },
  );
}

/**
 * Whether a user is to be on Matrix in a room: null when not. `isRemoved`: somebody else took the user out there, which is
 * to be settled first.
 */
export async function findJoinWanted(
  db: Db,
  roomId: string,
  userId: string,
): Promise<{ isRemoved: boolean } | null> {
  const rows = await rowsOf<{ isRemoved: boolean }>(
    db,
    `select s.removal_event_id is not null as "isRemoved" from memberships s
      where s.room_id = :roomId and s.user_id = :userId and s.desired = 'in' and (${JOINS} or ${IS_LOWERING_LATER})`,
    { roomId, userId, ...JOINING },
  );
  return rows[0] ?? null;
}

/** Records a join. The room's members are due where the member's role has a power level, which the room's map must name. */
export async function markJoined(db: Db, roomId: string, userId: string): Promise<void> {
  await execute(
    db,
    `with joined as (
       update memberships set applied = 'in' where room_id = :roomId and user_id = :userId returning role, silenced_until
     )
     update rooms set ${membersDue()}
      where id = :roomId and exists (select 1 from joined where role = any(:withLevel) or silenced_until > now())`,
    { roomId, userId, withLevel: [...ROLES_WITH_LEVEL] },
  );
}

/** Records that a user is not on Matrix in a room any more. */
export async function markLeft(db: Db, roomId: string, userId: string): Promise<void> {
  await execute(db, "update memberships set applied = 'out' where room_id = ? and user_id = ?", [
    roomId,
    userId,
  ]);
}

/** Records that a version of a membership is applied, or why it cannot be. A newer version stays to be applied. */
export async function markMoveApplied(
  db: Db,
  roomId: string,
  { user_id: userId, version }: Pick<MemberMove, "user_id" | "version">,
  error: string | null,
): Promise<void> {
  await execute(
    db,
    `update memberships set applied_version = :version, error = :error
      where room_id = :roomId and user_id = :userId and version = :version`,
    { roomId, userId, version, error },
  );
}

/** A joined member whom the room's power-level map names. `level`: the one applied so far while its rights are lowered later. */
export type MemberWithLevel = { user_id: string; matrix_user_id: string; level: number };

export async function listMembersWithLevel(db: Db, roomId: string): Promise<MemberWithLevel[]> {
  const rows = await rowsOf<MemberWithLevel>(
    db,
    `select s.user_id, u.matrix_user_id, case when ${IS_LOWERING_LATER} then s.applied_level else ${LEVEL} end as level
       from memberships s join users u on u.id = s.user_id
      where s.room_id = :roomId and s.desired = 'in' and s.applied = 'in' and (${LEVEL} <> 0 or s.applied_level <> 0)`,
    { roomId, ...JOINING },
  );
  return rows.filter(({ level }) => level !== 0);
}

/** Records the power levels that a room has on Matrix: those of `members`, and the default for everybody else. */
export async function markLevelsApplied(
  db: Db,
  roomId: string,
  members: readonly MemberWithLevel[],
): Promise<void> {
  await execute(
    db,
    `update memberships s set applied_level = coalesce(l.level, 0)
       from memberships m left join unnest(cast(:userIds as uuid[]), cast(:levels as int[])) as l(user_id, level) using (user_id)
      where m.room_id = :roomId and s.room_id = m.room_id and s.user_id = m.user_id and s.applied_level <> coalesce(l.level, 0)`,
    {
      roomId,
      userIds: members.map((member) => member.user_id),
      levels: members.map((member) => member.level),
    },
  );
}

/** The Matrix ids of joined members of these roles, `limit` at most, the highest applied level first. */
export async function listJoinedMembers(
  db: Db,
  roomId: string,
  { roles, limit }: { roles: readonly Role[]; limit: number },
): Promise<string[]> {
  const rows = await rowsOf<{ matrix_user_id: string }>(
    db,
    `select u.matrix_user_id from memberships s join users u on u.id = s.user_id
      where s.room_id = :roomId and s.applied = 'in' and s.role = any(:roles) and u.deleted_at is null
      order by s.applied_level desc, u.id limit :limit`,
    { roomId, roles: [...roles], limit },
  );
  return rows.map(({ matrix_user_id: matrixUserId }) => matrixUserId);
}

/** The Matrix ids of the existing users who are on Matrix in a room. */
export async function listJoinedMatrixIds(db: Db, roomId: string): Promise<string[]> {
  const rows = await rowsOf<{ matrix_user_id: string }>(
    db,
    `select u.matrix_user_id from memberships s join users u on u.id = s.user_id
      where s.room_id = ? and s.applied = 'in' and u.deleted_at is null`,
    [roomId],
  );
  return rows.map(({ matrix_user_id: matrixUserId }) => matrixUserId);
}

/** Whether a user of the tenant is in a room on Matrix. */
export type AppliedMembership = { roomId: string; userId: string; applied: "in" | "out" };

/**
 * Records who is in rooms on Matrix; the last one of a room and user counts. A room whose members differ from what the
 * tenant wants becomes due for its members' job, also for a user who is in it without a membership.
 */
export function applyMemberships(memberships: readonly AppliedMembership[]): Statement {
  const last = new Map(
    memberships.map((membership) => [`${membership.roomId} ${membership.userId}`, membership]),
  );
  const rows = [...last.values()];
  return {
    sql: `with m as (
       select * from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[]), cast(:applied as text[])) as m(room_id, user_id, applied)
     ), unlisted as (
       select room_id from m
        where applied = 'in' and not exists (select 1 from memberships s where s.room_id = m.room_id and s.user_id = m.user_id)
     ), shown as (
       update memberships s set applied = w.applied
         from (${lockMemberships("select m.* from m join memberships s using (room_id, user_id) where s.applied <> m.applied")}) w
        where s.room_id = w.room_id and s.user_id = w.user_id and s.applied <> w.applied
       returning s.room_id, s.applied, s.desired
     )
     update rooms set ${membersDue()},
            strangers_seen_at = case when id in (select room_id from unlisted) then now() else strangers_seen_at end
      where id in (select room_id from shown where applied <> desired union select room_id from unlisted) and deleted_at is null`,
    bindings: {
      roomIds: rows.map((row) => row.roomId),
      userIds: rows.map((row) => row.userId),
      applied: rows.map((row) => row.applied),
    },
  };
}
