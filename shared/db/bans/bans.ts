import { standingOf, mayDo } from "../memberships/standing.ts";
import { membersDue } from "../memberships/members-due.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * Who may not come into a room: the desired side of bans. Who bans or ends a ban holds the room's outbox; the membership job brings
 * it to Matrix.
 *
 * - `is_ended`: the ban is over. The row stays, with the time: what is read of Matrix from before it counts no more.
 * - `is_applied`: Matrix has it so.
 */

/** A ban that stands, as clients see it. */
export type BanRow = {
  user: string;
  display_name: string | null;
  avatar: string | null;
  by: string | null;
  reason: string | null;
  at: Date;
  is_applied: boolean;
};

const SELECT_BAN = `
  select u.external_id as "user", u.display_name, u.avatar, a.external_id as by, b.reason, b.at, b.is_applied
    from bans b join users u on u.id = b.user_id and u.deleted_at is null left join users a on a.id = b.by_id
   where b.tenant_id = :tenantId and b.room_id = :roomId and not b.is_ended`;

/** The bans of a room in the order of the people's names, after `cursor` (a name). */
export function listBans(
  db: Db,
  { tenantId, roomId }: { tenantId: string; roomId: string },
  { limit, cursor }: { limit: number; cursor: string | null },
): Promise<BanRow[]> {
  return rowsOf<BanRow>(
    db,
    `${SELECT_BAN} and (cast(:cursor as text) is null or u.external_id collate "C" > :cursor)
      order by u.external_id collate "C" limit :limit`,
    { tenantId, roomId, cursor, limit },
  );
}

/** The ban of a person; undefined for one who is not banned. */
export async function findBan(
  db: Db,
  { tenantId, roomId, user }: { tenantId: string; roomId: string; user: string },
): Promise<BanRow | undefined> {
  const [row] = await rowsOf<BanRow>(db, `${SELECT_BAN} and u.external_id = :user`, {
    tenantId,
    roomId,
    user,
  });
  return row;
}

/** Whether one of some people is banned from a room. */
export async function hasBanned(db: Db, roomId: string, userIds: readonly string[]): Promise<boolean> {
  const rows = await rowsOf(
    db,
    "select 1 as found from bans where room_id = :roomId and user_id = any(:userIds) and not is_ended limit 1",
    { roomId, userIds: [...userIds] },
  );
  return rows.length > 0;
}

export type NewBan = {
  tenantId: string;
  roomId: string;
  userId: string;
  /** Row id of who bans; null for the tenant's backend. */
  byId: string | null;
  reason: string | null;
  /** Matrix has the ban already. */
  isApplied: boolean;
};

/** Bans a person where the room's outbox is locked. Returns false, and changes nothing, for one who is banned. */
export async function insertBan(trx: Db, ban: NewBan): Promise<boolean> {
  const rows = await rowsOf(
    trx,
    `insert into bans as b (room_id, user_id, tenant_id, by_id, reason, is_applied)
     values (:roomId, :userId, :tenantId, :byId, :reason, :isApplied)
         on conflict (room_id, user_id) do update
        set by_id = excluded.by_id, reason = excluded.reason, at = now(), is_ended = false, is_applied = excluded.is_applied
      where b.is_ended
     returning 1 as banned`,
    ban,
  );
  return rows.length > 0;
}

/** Ends bans of a room whose outbox is locked. Returns how many there were. */
export function endBans(trx: Db, roomId: string, userIds: readonly string[]): Promise<number> {
  return endBansOf(
    trx,
    userIds.map((userId) => ({ roomId, userId })),
  );
}

/** The same for people in different rooms. */
export async function endBansOf(
  trx: Db,
  places: readonly { roomId: string; userId: string }[],
): Promise<number> {
  const rows = await rowsOf(
    trx,
    `with ended as (
       update bans b set is_ended = true, is_applied = false, at = now()
         from unnest(cast(:roomIds as uuid[]), cast(:userIds as uuid[])) as asked(room_id, user_id)
        where b.room_id = asked.room_id and b.user_id = asked.user_id and not b.is_ended returning b.room_id, b.user_id
     ), known as (
       update memberships s set is_banned = false from ended e where s.room_id = e.room_id and s.user_id = e.user_id and s.desired = 'out'
     )
     select 1 as ended from ended`,
    { roomIds: places.map(({ roomId }) => roomId), userIds: places.map(({ userId }) => userId) },
  );
  return rows.length;
}

/** A ban, or the end of one, that Matrix does not have yet. */
export type UnappliedBan = { userId: string; matrixUserId: string; reason: string | null; isEnded: boolean };

export function listUnappliedBans(db: Db, roomId: string, limit: number): Promise<UnappliedBan[]> {
  return rowsOf<UnappliedBan>(
    db,
    `select b.user_id as "userId", u.matrix_user_id as "matrixUserId", b.reason, b.is_ended as "isEnded"
       from bans b join users u on u.id = b.user_id
      where b.room_id = :roomId and not b.is_applied order by b.at, b.user_id limit :limit`,
    { roomId, limit },
  );
}

/** Matrix has a ban, or its end. One that changed meanwhile stays to be applied. */
export async function markBanApplied(
  db: Db,
  roomId: string,
  { userId, isEnded }: Pick<UnappliedBan, "userId" | "isEnded">,
): Promise<void> {
  await execute(
    db,
    "update bans set is_applied = true where room_id = :roomId and user_id = :userId and is_ended = :isEnded",
    { roomId, userId, isEnded },
  );
}

/**
 * What Matrix shows of the bans of people who are no members; a member's ban is a removal. `actorId`: row id of who did it, null for
 * an unknown person.
 */
export type BanOnMatrix = {
  roomId: string;
  userId: string;
  actorId: string | null;
  isBan: boolean;
  reason: string | null;
  at: string;
};

/** Takes over bans and their ends by members who may ban here; of others, what does not count here is made undone. */
export function noteBans(bans: readonly BanOnMatrix[]): Statement {
  const last = new Map(bans.map((ban) => [`${ban.roomId} ${ban.userId}`, ban]));
  return { sql: NOTE_BANS, bindings: { bans: JSON.stringify([...last.values()]) } };
}

const NOTE_BANS = `
  with g as (
    select g.*, r.tenant_id, coalesce(${mayDo(standingOf("p", "r"), "ban")}, false) as is_allowed
      from jsonb_to_recordset(cast(:bans as jsonb))
             as g("roomId" uuid, "userId" uuid, "actorId" uuid, "isBan" boolean, reason text, at timestamptz)
      join rooms r on r.id = g."roomId" and r.deleted_at is null and r.kind <> 'direct'
      left join memberships p on p.room_id = r.id and p.user_id = g."actorId" and p.desired = 'in'
     where not exists (select 1 from memberships s where s.room_id = g."roomId" and s.user_id = g."userId" and s.desired = 'in')
  ), banned as (
    insert into bans as b (room_id, user_id, tenant_id, by_id, reason, at, is_applied)
    select "roomId", "userId", tenant_id, "actorId", reason, at, true from g where "isBan" and is_allowed order by 1, 2
        on conflict (room_id, user_id) do update
       set by_id = excluded.by_id, reason = excluded.reason, at = excluded.at, is_ended = false, is_applied = true
     where b.is_ended and b.at < excluded.at
  ), ended as (
    update bans b set is_ended = is_allowed, is_applied = is_allowed, at = case when is_allowed then g.at else b.at end
      from g where not g."isBan" and b.room_id = g."roomId" and b.user_id = g."userId" and not b.is_ended and b.at < g.at
    returning b.room_id, b.is_ended
  ), shown as (
    update memberships s set is_banned = false from g
     where not g."isBan" and s.room_id = g."roomId" and s.user_id = g."userId" and s.is_banned
  )
  update rooms set ${membersDue()} where id in (select room_id from ended where not is_ended)`;
