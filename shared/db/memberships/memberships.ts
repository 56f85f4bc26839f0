import { ROLES_WITH_LEVEL } from "../../contract/roles.ts";
import type { RoomAddress, RoomKind } from "../../contract/names.ts";
import type { Role } from "../../contract/roles.ts";
import type { MemberResource } from "../../contract/resources.ts";
import type { Standing } from "../../contract/permissions.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { TokenBounds } from "../users/user-tokens.ts";
import { STANDING } from "./standing.ts";
import type { User } from "../users/users.ts";
import { upsertMemberships } from "./many/many-rooms.ts";

/**
 * A membership is a user's place in a room. The tenant sets the desired state, the jobs the applied one.
 *
 * - desired `in` or `out`, with a role: `upsertMembers`, `endMemberships` and `endAllMemberships`, by the api. Each change
 *   is a new `version`.
 * - applied `in` or `out`: what is on Matrix. The jobs write it (`applied-members.ts`), and the sync when Matrix shows a
 *   join or a leave that we did not cause.
 * - `applied_version`: the version that the membership job has applied, or could not apply (`error`). A membership is due
 *   while it differs from `version`; the due time is the room's (`members-due.ts`).
 *
 * On Matrix are the members who may react, once they have opened the room (`opened_at`) or in a tenant with eager joins.
 */

/** A membership with its user. */
export type MemberRow = {
  user_id: string;
  external_id: string;
  display_name: string | null;
  avatar: string | null;
  role: Role;
  /** Until when the member is muted; null when it is not. */
  silenced_until: Date | null;
  desired: "in" | "out";
  version: number;
  applied_version: number;
  error: string | null;
  /** Matrix shows a ban. */
  is_banned: boolean;
};

// Lists of users are joined, never compared with `= any`: a prepared plan would compare each pair.
const SELECT_MEMBER = `
  select s.user_id, u.external_id, u.display_name, u.avatar, s.role, s.desired, s.version, s.applied_version, s.error, s.is_banned,
         case when s.silenced_until > now() then s.silenced_until end as silenced_until
    from memberships s join users u on u.id = s.user_id`;

/** Locks the memberships of some users in a locked room until the transaction ends, also ended ones. */
export function lockMemberships(
  trx: Db,
  tenantId: string,
  roomId: string,
  userIds: readonly string[],
): Promise<MemberRow[]> {
  return rowsOf<MemberRow>(
    trx,
    `${SELECT_MEMBER} join unnest(cast(? as uuid[])) as asked(user_id) on asked.user_id = s.user_id
      where s.tenant_id = ? and s.room_id = ? order by s.user_id for update of s`,
    [userIds, tenantId, roomId],
  );
}

/** What a member is to be. `mutedUntil`: absent, the member is not muted. */
export type MemberWish = { userId: string; role: Role; mutedUntil?: Date | null };

/** Makes users members with a role, each in a new version. One who was not a member starts with nothing unread. */
export function upsertMembers(
  trx: Db,
  tenantId: string,
  roomId: string,
  wanted: readonly MemberWish[],
): Promise<void> {
  return upsertMemberships(
    trx,
    tenantId,
    wanted.map((one) => ({ roomId, ...one })),
  );
}

/** Ends a user's memberships of rooms whose outbox rows are locked. Returns the rooms where the user was a member, with the role. */
export function endMemberships(
  trx: Db,
  tenantId: string,
  userId: string,
  roomIds: readonly string[],
): Promise<{ room_id: string; role: Role }[]> {
  return rowsOf<{ room_id: string; role: Role }>(
    trx,
    `update memberships set desired = 'out', version = version + 1, error = null, updated_at = now()
      where tenant_id = ? and user_id = ? and room_id = any(?) and desired = 'in'
      returning room_id, role`,
    [tenantId, userId, roomIds],
  );
}

/** Ends all memberships of locked rooms. Returns the users who were members, with the room of each. */
export function endAllMemberships(
  trx: Db,
  tenantId: string,
  roomIds: readonly string[],
): Promise<{ user_id: string; room_id: string }[]> {
  return rowsOf<{ user_id: string; room_id: string }>(
    trx,
    `update memberships set desired = 'out', version = version + 1, error = null, updated_at = now()
      where tenant_id = ? and room_id = any(?) and desired = 'in' returning user_id, room_id`,
    [tenantId, roomIds],
  );
}

/** How many members of a room the power-level map names, and the name of the tenant's homeserver. */
export async function countLevels(
  db: Db,
  tenantId: string,
  roomId: string,
): Promise<{ count: number; serverName: string }> {
  const rows = await rowsOf<{ count: number; serverName: string }>(
    db,
    `select h.server_name as "serverName",
            (select count(*) from memberships
              where tenant_id = t.id and room_id = :roomId and desired = 'in'
                and (role = any(:withLevel) or silenced_until > now())) as count
       from tenants t join homeservers h on h.id = t.homeserver_id where t.id = :tenantId`,
    { tenantId, roomId, withLevel: [...ROLES_WITH_LEVEL] },
  );
  return rows[0] ?? { count: 0, serverName: "" };
}

/** The rooms that a user is a member of, and the user's direct rooms, even those that the user was removed from. */
export function listRoomsOf(
  db: Db,
  tenantId: string,
  userId: string,
): Promise<{ room_id: string; kind: RoomKind }[]> {
  return rowsOf<{ room_id: string; kind: RoomKind }>(
    db,
    `select s.room_id, r.kind from memberships s join rooms r on r.id = s.room_id and r.deleted_at is null
      where s.tenant_id = :tenantId and s.user_id = :userId and s.desired = 'in'
      union all
     select s.room_id, r.kind from memberships s join rooms r on r.id = s.room_id and r.deleted_at is null
      where s.tenant_id = :tenantId and s.user_id = :userId and s.desired = 'out' and r.kind = 'direct'
      order by room_id`,
    { tenantId, userId },
  );
}

/** Whether a user who is deleted was in a room. */
export async function hasDeletedMember(db: Db, tenantId: string, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 as found from memberships s join users u on u.id = s.user_id and u.deleted_at is not null
      where s.tenant_id = ? and s.room_id = ? limit 1`,
    [tenantId, roomId],
  );
  return rows.length > 0;
}

/** Members of a room, in the order of their names, after `cursor` (a name). */
export function listMembers(
  db: Db,
  tenantId: string,
  roomId: string,
  { limit, cursor }: { limit: number; cursor: string | null },
): Promise<MemberRow[]> {
  return rowsOf<MemberRow>(
    db,
    `${SELECT_MEMBER}
      where s.tenant_id = :tenantId and s.room_id = :roomId and s.desired = 'in'
        and (cast(:cursor as text) is null or u.external_id collate "C" > :cursor)
      order by u.external_id collate "C" limit :limit`,
    { tenantId, roomId, cursor, limit },
  );
}

/** The membership of a user in a room, also an ended one. */
export async function findMember(
  db: Db,
  tenantId: string,
  roomId: string,
  user: string,
): Promise<MemberRow | undefined> {
  const rows = await rowsOf<MemberRow>(
    db,
    `${SELECT_MEMBER} where s.tenant_id = ? and s.room_id = ? and u.external_id = ? and u.deleted_at is null`,
    [tenantId, roomId, user],
  );
  return rows[0];
}

/** Memberships of some users in a room, in the order of their names. */
export function findMembers(
  db: Db,
  tenantId: string,
  roomId: string,
  users: readonly string[],
): Promise<MemberRow[]> {
  return rowsOf<MemberRow>(
    db,
    `${SELECT_MEMBER} join unnest(cast(? as text[])) as asked(name) on asked.name = u.external_id
      where s.tenant_id = ? and s.room_id = ? and u.tenant_id = s.tenant_id and u.deleted_at is null
      order by u.external_id collate "C"`,
    [users, tenantId, roomId],
  );
}

/** The membership of an existing user in an existing room, with which a request about the room is decided. */
export type RoomAccess = {
  room_id: string;
  user_id: string;
  role: Role;
  standing: Standing;
  opened_at: Date | null;
  member_count: number;
};

/** A user who calls, with the user's membership of the room; null where there is none. */
export type RoomCaller = TokenBounds & { status: User["status"]; access: RoomAccess | null };

/** The existing user of a name, and its access to a room. Undefined when there is no such user. */
export async function findRoomCaller(
  db: Db,
  tenantId: string,
  room: RoomAddress,
  user: string,
): Promise<RoomCaller | undefined> {
  type Row = Omit<RoomCaller, "access"> &
    Omit<RoomAccess, "room_id" | "user_id"> & { room_id: string | null };
  const [row] = await rowsOf<Row>(
    db,
    `select u.id, u.status, u.tokens_valid_from, u.product_tokens_valid_from, s.room_id, s.role, s.opened_at, r.member_count,
            ${STANDING} as standing
       from users u
       left join rooms r on r.tenant_id = u.tenant_id and r.kind = ? and r.slug = ? and r.deleted_at is null
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
      where u.tenant_id = ? and u.external_id = ? and u.deleted_at is null`,
    [room.kind, room.slug, tenantId, user],
  );
  if (!row) return undefined;
  const { room_id, role, standing, opened_at, member_count, ...caller } = row;
  const membership = { user_id: caller.id, role, standing, opened_at, member_count };
  return { ...caller, access: room_id === null ? null : { room_id, ...membership } };
}

/** A membership as clients see it. */
export function presentMember(row: MemberRow): MemberResource {
  return {
    user: row.external_id,
    displayName: row.display_name,
    avatar: row.avatar,
    role: row.role,
    mutedUntil: row.silenced_until?.toISOString() ?? null,
    status: memberStatus(row),
  };
}

function memberStatus({ desired, version, applied_version, error }: MemberRow): MemberResource["status"] {
  if (error !== null) return "failed";
  if (version !== applied_version) return "pending";
  return desired === "in" ? "ready" : "removed";
}
