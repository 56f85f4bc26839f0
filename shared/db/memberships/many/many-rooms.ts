import { ROLES_WITH_LEVEL, type Role } from "../../../contract/roles.ts";
import { execute, rowsOf, type Db } from "../../connection/open.ts";

/** A user's place in a room. */
export type MemberPlace = { roomId: string; userId: string };

/** How a user stands in a room. */
export type MemberState = {
  room_id: string;
  user_id: string;
  role: Role;
  desired: "in" | "out";
  is_banned: boolean;
  silenced_until: Date | null;
};

/** Locks memberships in locked rooms until the transaction ends, also ended ones. */
export function lockMembershipsOf(
  trx: Db,
  tenantId: string,
  places: readonly MemberPlace[],
): Promise<MemberState[]> {
  return rowsOf<MemberState>(trx, LOCK, { tenantId, ...columnsOf(places) });
}

const PLACES = "unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[])) as asked(room_id, user_id)";

const LOCK = `
  select s.room_id, s.user_id, s.role, s.desired, s.silenced_until,
         s.is_banned or exists (select 1 from bans b where b.room_id = s.room_id and b.user_id = s.user_id and not b.is_ended) as is_banned
    from memberships s join ${PLACES} on asked.room_id = s.room_id and asked.user_id = s.user_id
   where s.tenant_id = :tenantId order by s.room_id, s.user_id for update of s`;

/** Makes users members with a role, each in a new version. One who was not a member starts with nothing unread. */
export async function upsertMemberships(
  trx: Db,
  tenantId: string,
  wanted: readonly (MemberPlace & { role: Role; mutedUntil?: Date | null })[],
): Promise<void> {
  await execute(trx, UPSERT, {
    ...{ tenantId, ...columnsOf(wanted) },
    roles: wanted.map(({ role }) => role),
    mutes: wanted.map(({ mutedUntil }) => mutedUntil?.toISOString() ?? null),
  });
}

const UPSERT = `
  insert into memberships as s (room_id, user_id, tenant_id, role, silenced_until, read_count, read_number)
  select t.room_id, w.user_id, t.tenant_id, w.role, w.silenced_until, t.message_count, t.last_number
    from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[]), cast(:roles as text[]), cast(:mutes as timestamptz[]))
         as w(room_id, user_id, role, silenced_until)
    join room_timeline t on t.room_id = w.room_id and t.tenant_id = :tenantId
   order by w.room_id, w.user_id
      on conflict (room_id, user_id) do update
     set role = excluded.role, silenced_until = excluded.silenced_until, desired = 'in', version = s.version + 1, error = null, updated_at = now(),
         read_count = case when s.desired = 'in' then s.read_count else excluded.read_count end,
         read_number = case when s.desired = 'in' then s.read_number else excluded.read_number end,
         own_above = case when s.desired = 'in' then s.own_above else 0 end,
         opened_at = case when s.desired = 'in' then s.opened_at else null end`;

/** Ends memberships of locked rooms. */
export async function endMembershipsOf(
  trx: Db,
  tenantId: string,
  places: readonly MemberPlace[],
): Promise<void> {
  await execute(trx, END, { tenantId, ...columnsOf(places) });
}

const END = `
  update memberships s set desired = 'out', version = s.version + 1, error = null, updated_at = now()
    from ${PLACES}
   where s.tenant_id = :tenantId and s.room_id = asked.room_id and s.user_id = asked.user_id and s.desired = 'in'`;

/** How many members of each room the power-level map names (none of a room that is left out), and the homeserver's name. */
export async function countLevelsOf(
  db: Db,
  tenantId: string,
  roomIds: readonly string[],
): Promise<{ counts: Map<string, number>; serverName: string }> {
  const rows = await rowsOf<{ room_id: string | null; count: number; serverName: string }>(db, LEVELS, {
    ...{ tenantId, roomIds: [...roomIds], withLevel: [...ROLES_WITH_LEVEL] },
  });
  const counts = rows.flatMap(({ room_id: roomId, count }) =>
    roomId === null ? [] : [[roomId, count] as const],
  );
  return { counts: new Map(counts), serverName: rows[0]?.serverName ?? "" };
}

const LEVELS = `
  select s.room_id, coalesce(s.count, 0) as count, h.server_name as "serverName"
    from tenants t join homeservers h on h.id = t.homeserver_id
    left join (
      select tenant_id, room_id, count(*) as count from memberships
       where room_id = any(:roomIds) and desired = 'in' and role = any(:withLevel) group by tenant_id, room_id
    ) s on s.tenant_id = t.id
   where t.id = :tenantId`;

function columnsOf(places: readonly MemberPlace[]): { roomIds: string[]; userIds: string[] } {
  return {
    roomIds: places.map(({ roomId }) => roomId),
    userIds: places.map(({ userId }) => userId),
  };
}
