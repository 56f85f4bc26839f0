import type { RoomAddress, RoomKind } from "../../contract/names.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { JOIN_MIRROR, SENT_NUMBER } from "../rooms/room-mirrors.ts";
import type { TokenBounds } from "../users/user-tokens.ts";

/** Where a room's timeline stands, and how far Matrix has followed, of one snapshot. `sent_number` is at most `last_number`. */
export type PositionRow = {
  room_id: string;
  kind: RoomKind;
  slug: string;
  epoch: string;
  scrubs: number;
  last_number: number;
  sent_number: number;
  member_count: number;
};

/** A room that a user may subscribe to, with the position of its timeline. */
export type GrantRow = PositionRow;

/** `gone`: the user is locked or deleted. `paused`: the tenant is paused. */
export type ConnectableState = "active" | "gone" | "paused";

/** Whether a user may connect, and a hash of the rooms that the user may subscribe to: it changes when they do. */
export type UserAccessRow = {
  user_id: string;
  state: ConnectableState;
  membershipVersion: string;
  /** Tokens that were signed before are revoked. */
  tokensValidFrom: Date;
};

export type RightsRow = UserAccessRow & { grants: GrantRow[] };

const selectUserAccess = (moreColumns = "") => `
  select u.id as user_id, u.tokens_valid_from as "tokensValidFrom",${moreColumns}
         case when t.status <> 'active' then 'paused'
              when u.deleted_at is not null or u.status = 'locked' then 'gone' else 'active' end as state,
         (select coalesce(md5(string_agg(m.room_id::text, ',' order by m.room_id)), '')
            from memberships m join rooms r on r.id = m.room_id and r.deleted_at is null
           where m.user_id = u.id and m.desired = 'in') as "membershipVersion"
    from users u join tenants t on t.id = u.tenant_id`;

const SELECT_GRANT = `
  select r.id as room_id, r.kind, r.slug, l.epoch, l.scrubs, l.last_number, r.member_count, ${SENT_NUMBER}
    from memberships m
    join users u on u.id = m.user_id and u.deleted_at is null and u.status <> 'locked'
    join tenants t on t.id = u.tenant_id and t.status = 'active'
    join rooms r on r.id = m.room_id and r.deleted_at is null
    join room_timeline l on l.room_id = r.id
    ${JOIN_MIRROR}
   where m.desired = 'in'`;

/** The access of users as `selectAccess` reads it, with the grants of each. Its first value is their number. */
const selectRights = (selectAccess: string) => `
  select s.*, (select coalesce(jsonb_agg(g), '[]') from (
      ${SELECT_GRANT} and m.user_id = s.user_id
      order by coalesce(l.last_message_at, r.created_at) desc, r.id limit ?) g) as grants
    from (${selectAccess}) s`;

const READ_RIGHTS = selectRights(`${selectUserAccess()} where u.id = any(?)`);

/** The access of users and the `limit` most recently active rooms that each may subscribe to, of one snapshot. */
export function readRights(db: Db, userIds: readonly string[], limit: number): Promise<RightsRow[]> {
  return rowsOf<RightsRow>(db, READ_RIGHTS, [limit, userIds]);
}

/** Of some rooms, by id, those that the user may subscribe to. */
export function readGrants(db: Db, userId: string, roomIds: readonly string[]): Promise<GrantRow[]> {
  return rowsOf<GrantRow>(db, `${SELECT_GRANT} and m.user_id = ? and r.id = any(?)`, [userId, roomIds]);
}

/** Of some rooms, by address in the user's own tenant, those that the user may subscribe to. */
export function findGrants(db: Db, userId: string, rooms: readonly RoomAddress[]): Promise<GrantRow[]> {
  return rowsOf<GrantRow>(
    db,
    `${SELECT_GRANT} and m.user_id = ? and r.tenant_id = u.tenant_id
       and (r.kind, r.slug) in (select * from unnest(?::text[], ?::text[]))`,
    [userId, rooms.map((room) => room.kind), rooms.map((room) => room.slug)],
  );
}

const READ_USER_ACCESS = `${selectUserAccess()} where u.id = any(?)`;

/** The access of many users. One who does not exist is left out. */
export function readUserAccess(db: Db, userIds: readonly string[]): Promise<UserAccessRow[]> {
  return rowsOf<UserAccessRow>(db, READ_USER_ACCESS, [userIds]);
}

/** The positions of the timelines of many rooms. */
export function readPositions(db: Db, roomIds: readonly string[]): Promise<PositionRow[]> {
  return rowsOf<PositionRow>(
    db,
    `select r.id as room_id, r.kind, r.slug, l.epoch, l.scrubs, l.last_number, r.member_count, ${SENT_NUMBER}
       from rooms r join room_timeline l on l.room_id = r.id ${JOIN_MIRROR} where r.id = any(?)`,
    [roomIds],
  );
}

/** A user's name in a tenant, and the row of it: of an existing user before a deleted one of the same name. */
export type UserName = { tenantId: string; user: string };
export type Connectable = TokenBounds & { tenant_id: string; external_id: string; is_active: boolean };

const CONNECTABLE_COLUMNS = `
         u.id, u.tenant_id, u.external_id, u.tokens_valid_from, u.product_tokens_valid_from,
         (u.deleted_at is null and u.status <> 'locked') as is_active`;

const selectConnectables = (columns: string) => `
  select distinct on (u.tenant_id, u.external_id) ${columns}
    from unnest(?::uuid[], ?::text[]) as w(tenant_id, external_id)
    join users u on u.tenant_id = w.tenant_id and u.external_id = w.external_id
   order by u.tenant_id, u.external_id, (u.deleted_at is null) desc`;

const FIND_CONNECTABLES = selectConnectables(CONNECTABLE_COLUMNS);

const FIND_RIGHTS = selectRights(
  `${selectUserAccess(`${CONNECTABLE_COLUMNS},`)} where u.id = any(array(select c.id from (${selectConnectables("u.id")}) c))`,
);

/** Users by name. */
export function findConnectables(db: Db, names: readonly UserName[]): Promise<Connectable[]> {
  return rowsOf(db, FIND_CONNECTABLES, bindNames(names));
}

/** Users by name, with what `readRights` reads, of one snapshot. */
export function findRights(
  db: Db,
  names: readonly UserName[],
  limit: number,
): Promise<(Connectable & RightsRow)[]> {
  return rowsOf(db, FIND_RIGHTS, [limit, ...bindNames(names)]);
}

function bindNames(names: readonly UserName[]): string[][] {
  return [names.map(({ tenantId }) => tenantId), names.map(({ user }) => user)];
}
