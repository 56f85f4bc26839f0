import type { RoomAddress, RoomKind } from "../names.ts";
import { rowsOf, type Db } from "./open.ts";

/** A room that a user may hear, with where its timeline stands. */
export type GrantRow = { room_id: string; kind: RoomKind; slug: string; epoch: string; last_number: number };

/**
 * Whether a user may be connected at all, and a fingerprint of the rooms that the user may hear: it changes whenever
 * that set does, and tells nothing else.
 */
export type StandingRow = { user_id: string; is_active: boolean; fingerprint: string };

export type RightsRow = StandingRow & { grants: GrantRow[] };

const SELECT_STANDING = `
  select u.id as user_id,
         (u.deleted_at is null and u.status <> 'locked' and t.status = 'active') as is_active,
         (select coalesce(md5(string_agg(m.room_id::text, ',' order by m.room_id)), '')
            from memberships m join rooms r on r.id = m.room_id and r.deleted_at is null
           where m.user_id = u.id and m.desired = 'in') as fingerprint
    from users u join tenants t on t.id = u.tenant_id`;

const SELECT_GRANT = `
  select r.id as room_id, r.kind, r.slug, l.epoch, l.last_number
    from memberships m
    join users u on u.id = m.user_id and u.deleted_at is null and u.status <> 'locked'
    join tenants t on t.id = u.tenant_id and t.status = 'active'
    join rooms r on r.id = m.room_id and r.deleted_at is null
    join room_timeline l on l.room_id = r.id
   where m.desired = 'in'`;

/** A user's standing and the `limit` most recently active rooms that the user may hear, of one snapshot. */
export async function readRights(db: Db, userId: string, limit: number): Promise<RightsRow | null> {
  const rows = await rowsOf<RightsRow>(
    db,
    `select s.*, (select coalesce(jsonb_agg(g), '[]') from (
        ${SELECT_GRANT} and m.user_id = :userId
        order by coalesce(l.last_message_at, r.created_at) desc, r.id limit :limit) g) as grants
       from (${SELECT_STANDING} where u.id = :userId) s`,
    { userId, limit },
  );
  return rows[0] ?? null;
}

/** Of some rooms, by id, those that the user may hear. */
export function readGrants(db: Db, userId: string, roomIds: readonly string[]): Promise<GrantRow[]> {
  return rowsOf<GrantRow>(db, `${SELECT_GRANT} and m.user_id = ? and r.id = any(?)`, [userId, roomIds]);
}

/** Of some rooms, by address in the user's own tenant, those that the user may hear. */
export function findGrants(db: Db, userId: string, rooms: readonly RoomAddress[]): Promise<GrantRow[]> {
  return rowsOf<GrantRow>(
    db,
    `${SELECT_GRANT} and m.user_id = ? and r.tenant_id = u.tenant_id
       and (r.kind, r.slug) in (select * from unnest(?::text[], ?::text[]))`,
    [userId, rooms.map((room) => room.kind), rooms.map((room) => room.slug)],
  );
}

/** The standings of many users; one who does not exist is left out. */
export function readStandings(db: Db, userIds: readonly string[]): Promise<StandingRow[]> {
  return rowsOf<StandingRow>(db, `${SELECT_STANDING} where u.id = any(?)`, [userIds]);
}

/** Where the timelines of many rooms stand. */
export function readPositions(
  db: Db,
  roomIds: readonly string[],
): Promise<{ room_id: string; epoch: string; last_number: number }[]> {
  return rowsOf(db, "select room_id, epoch, last_number from room_timeline where room_id = any(?)", [
    roomIds,
  ]);
}

/** A tenant's user by the tenant's own id, the living before the deleted. */
export async function findConnectable(
  db: Db,
  tenantId: string,
  user: string,
): Promise<{ id: string; is_active: boolean } | null> {
  const rows = await rowsOf<{ id: string; is_active: boolean }>(
    db,
    `select id, (deleted_at is null and status <> 'locked') as is_active from users
      where tenant_id = ? and external_id = ? order by (deleted_at is null) desc limit 1`,
    [tenantId, user],
  );
  return rows[0] ?? null;
}
