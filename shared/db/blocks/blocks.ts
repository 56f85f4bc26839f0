import { execute, rowsOf, type Db } from "../connection/open.ts";
import { membersDue } from "../memberships/members-due.ts";

/*
 * A block shuts the direct room of two people for both, no matter which of them blocks the other: `rooms.is_blocked`, from which standings
 * and power levels follow. It ends with either person.
 */

/** Two people, by row id. */
export type Pair = readonly [string, string];

/** A person whom another one blocks. */
export type BlockRow = {
  blocked_id: string;
  external_id: string;
  display_name: string | null;
  avatar: string | null;
  created_at: Date;
};

/** Blocks a person. Returns false when the person is blocked already. */
export async function insertBlock(trx: Db, userId: string, blockedId: string): Promise<boolean> {
  const inserted = await rowsOf(
    trx,
    "insert into blocks (user_id, blocked_id) values (?, ?) on conflict do nothing returning 1",
    [userId, blockedId],
  );
  return inserted.length > 0;
}

/** Ends a block. Returns false when there is none. */
export async function deleteBlock(trx: Db, userId: string, blockedId: string): Promise<boolean> {
  const deleted = await rowsOf(trx, "delete from blocks where user_id = ? and blocked_id = ? returning 1", [
    userId,
    blockedId,
  ]);
  return deleted.length > 0;
}

/** Ends all blocks by and of people who are being deleted. */
export async function deleteBlocksOf(trx: Db, userIds: readonly string[]): Promise<void> {
  await execute(trx, "delete from blocks where user_id = any(:userIds) or blocked_id = any(:userIds)", {
    userIds: [...userIds],
  });
}

/** Locks two people, in the order of their names, so that no direct room of theirs is made meanwhile. Returns those who exist. */
export async function lockPair(trx: Db, tenantId: string, pair: Pair): Promise<ReadonlySet<string>> {
  const rows = await rowsOf<{ id: string }>(
    trx,
    `select id from users where tenant_id = ? and id = any(?) and deleted_at is null order by external_id for update`,
    [tenantId, [...pair]],
  );
  return new Set(rows.map(({ id }) => id));
}

const IS_BLOCKED = `exists (
  select 1 from memberships a join memberships b on b.room_id = a.room_id and b.user_id <> a.user_id
    join blocks x on x.user_id = a.user_id and x.blocked_id = b.user_id
   where a.room_id = r.id)`;

/**
 * Brings a locked direct room to what its two people want: messages accepted before a block are sent, and the power levels follow
 * in the background. Returns whether it changed.
 */
export async function applyBlocks(trx: Db, tenantId: string, roomId: string): Promise<boolean> {
  const changed = await rowsOf(
    trx,
    `update rooms r
        set is_blocked = not is_blocked, rights_lowered_at = case when is_blocked then rights_lowered_at else now() end, ${membersDue()}
      where r.tenant_id = :tenantId and r.id = :roomId and r.kind = 'direct' and r.is_blocked <> ${IS_BLOCKED}
      returning 1`,
    { tenantId, roomId },
  );
  return changed.length > 0;
}

/** Whether one of two people, by name, blocks the other. */
export async function isPairBlocked(
  db: Db,
  tenantId: string,
  [one, other]: readonly [string, string],
): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 from users a
       join users b on b.tenant_id = a.tenant_id and b.external_id = :other and b.deleted_at is null
       join blocks x on (x.user_id = a.id and x.blocked_id = b.id) or (x.user_id = b.id and x.blocked_id = a.id)
      where a.tenant_id = :tenantId and a.external_id = :one and a.deleted_at is null limit 1`,
    { tenantId, one, other },
  );
  return rows.length > 0;
}

/** How many people somebody blocks. */
export async function countBlocks(db: Db, userId: string): Promise<number> {
  const [row] = await rowsOf<{ count: number }>(
    db,
    "select count(*)::int as count from blocks where user_id = ?",
    [userId],
  );
  return row?.count ?? 0;
}

const SELECT_BLOCK = `
  select x.blocked_id, u.external_id, u.display_name, u.avatar, x.created_at
    from blocks x join users u on u.id = x.blocked_id and u.deleted_at is null`;

/** A page of those whom a person blocks, in the order of their ids, after `cursor` (an id). */
export function listBlocks(
  db: Db,
  userId: string,
  { limit, cursor }: { limit: number; cursor: string | null },
): Promise<BlockRow[]> {
  return rowsOf<BlockRow>(
    db,
    `${SELECT_BLOCK} where x.user_id = :userId ${cursor === null ? "" : "and u.external_id > :cursor"}
      order by u.external_id limit :limit`,
    { userId, limit, ...(cursor === null ? {} : { cursor }) },
  );
}

export async function findBlock(db: Db, userId: string, blockedId: string): Promise<BlockRow | undefined> {
  const [row] = await rowsOf<BlockRow>(db, `${SELECT_BLOCK} where x.user_id = ? and x.blocked_id = ?`, [
    userId,
    blockedId,
  ]);
  return row;
}
