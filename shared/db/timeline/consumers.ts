import { transact } from "../connection/transaction.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/** A consumer to register; see `shared/timeline/consumers/define.ts` for the rules. */
type Registration = { name: string; start: "now" | 1 };

/**
 * Registers the consumers that the table does not hold yet. Appends wait meanwhile, five seconds at most, so that each
 * either sees the consumer and marks its room, or is committed before and counted here.
 * @throws 55P03 when a transaction that appends runs for longer.
 */
export async function registerConsumers(db: Db, consumers: readonly Registration[]): Promise<void> {
  if (consumers.length === 0) return;
  const rows = await rowsOf<{ name: string }>(db, "select name from timeline_consumers", []);
  const known = new Set(rows.map(({ name }) => name));
  for (const consumer of consumers) if (!known.has(consumer.name)) await register(db, consumer);
}

function register(db: Db, { name, start }: Registration): Promise<void> {
  return transact(db, async (trx) => {
    await trx.raw("set local lock_timeout = '5s'");
    await trx.raw("lock table room_timeline in share row exclusive mode");
    const inserted = await rowsOf(
      trx,
      "insert into timeline_consumers (name, start) values (?, ?) on conflict do nothing returning 1 as one",
      [name, String(start)],
    );
    if (inserted.length === 0 || start === "now") return;
    // A room without a cursor begins with its next append: all that is there already must be due now.
    await execute(
      trx,
      `insert into timeline_cursors (consumer, room_id, tenant_id, position, next_attempt_at)
       select ?, t.room_id, t.tenant_id, 0, now() from room_timeline t join rooms r on r.id = t.room_id
        where t.last_number > 0 and r.deleted_at is null`,
      [name],
    );
  });
}

/** One consumer's cursor in one room. */
export type CursorKey = { consumer: string; tenantId: string; roomId: string };

export type DueCursor = CursorKey & {
  /** Number of the last entry that the consumer is done with. */
  position: number;
  /** Failed deliveries of what follows. */
  attempts: number;
  /** Until it is due; 0 when it is. */
  waitMs: number;
  lastNumber: number;
  isDeleted: boolean;
};

/** A cursor that is marked as due, of a tenant that is not paused. */
export async function findDueCursor(db: Db, key: CursorKey): Promise<DueCursor | null> {
  const rows = await rowsOf<Omit<DueCursor, keyof CursorKey>>(
    db,
    `select k.position, k.attempts, t.last_number as "lastNumber", r.deleted_at is not null as "isDeleted",
            cast(ceil(greatest(0, extract(epoch from k.next_attempt_at - now()) * 1000)) as int) as "waitMs"
       from timeline_cursors k
       join room_timeline t on t.room_id = k.room_id
       join rooms r on r.id = k.room_id
       join tenants n on n.id = k.tenant_id
      where k.consumer = :consumer and k.room_id = :roomId and k.tenant_id = :tenantId
        and k.next_attempt_at is not null and n.status = 'active'`,
    key,
  );
  return rows[0] ? { ...key, ...rows[0] } : null;
}

/**
 * Cursors of some consumers that are due for this long, in rotation over the tenants: the backlog of one tenant does not
 * keep the others from being found.
 */
export async function findDueCursors(
  db: Db,
  { consumers, dueForMs, limit }: { consumers: readonly string[]; dueForMs: number; limit: number },
): Promise<CursorKey[]> {
  if (consumers.length === 0) return [];
  return rowsOf<CursorKey>(
    db,
    `select k.consumer, k.tenant_id as "tenantId", k.room_id as "roomId"
       from timeline_cursors k join tenants t on t.id = k.tenant_id
      where k.next_attempt_at <= now() - :dueForMs * interval '1 millisecond' and k.consumer = any(:consumers)
        and t.status = 'active'
      order by row_number() over (partition by k.tenant_id order by k.next_attempt_at), k.next_attempt_at
      limit :limit`,
    { consumers: [...consumers], dueForMs, limit },
  );
}

/** Marks of all consumers, counted to 100,000. */
export async function countDueCursors(db: Db): Promise<number> {
  const rows = await rowsOf<{ count: number }>(
    db,
    "select count(*) as count from (select 1 from timeline_cursors where next_attempt_at is not null limit 100000) due",
    [],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Moves a cursor from where it was read to `to`. The mark goes, under the row lock of the room's timeline, when that is
 * the last number; else it is due at once, behind the rooms that wait already. Null when another job has moved the cursor.
 */
export async function advanceCursor(
  db: Db,
  { consumer, roomId, position }: DueCursor,
  to: number,
): Promise<{ isDue: boolean } | null> {
  const rows = await rowsOf<{ isDue: boolean }>(
    db,
    `with room as (select last_number from room_timeline where room_id = :roomId for update)
     update timeline_cursors k
        set position = :to, attempts = 0, error = null,
            next_attempt_at = case when room.last_number > :to then now() end
       from room
      where k.consumer = :consumer and k.room_id = :roomId and k.position = :position
     returning k.next_attempt_at is not null as "isDue"`,
    { consumer, roomId, position, to },
  );
  return rows[0] ?? null;
}

/** Keeps how far a cursor came before a delivery failed, and when the delivery is tried again. False as above. */
export async function rescheduleCursor(
  db: Db,
  { consumer, roomId, position }: DueCursor,
  failure: { reached: number; attempts: number; delayMs: number; error: string },
): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `update timeline_cursors
        set position = :reached, attempts = :attempts, error = :error,
            next_attempt_at = now() + :delayMs * interval '1 millisecond'
      where consumer = :consumer and room_id = :roomId and position = :position
     returning 1 as one`,
    { consumer, roomId, position, ...failure },
  );
  return rows.length > 0;
}

/** Parks what could not be delivered and moves the cursor past it, in one statement. False as above. */
export async function parkEntries(
  db: Db,
  { consumer, roomId, position }: DueCursor,
  parked: { first: number; last: number; error: string },
): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `with moved as (
       update timeline_cursors set position = :last, attempts = 0, error = null, next_attempt_at = now()
        where consumer = :consumer and room_id = :roomId and position = :position
       returning consumer, room_id, tenant_id
     ), parked as (
       insert into parked_entries (consumer, room_id, number, last_number, tenant_id, error)
       select consumer, room_id, :first, :last, tenant_id, :error from moved
           on conflict do nothing
     )
     select 1 as one from moved`,
    { consumer, roomId, position, ...parked },
  );
  return rows.length > 0;
}

/** Deletes the cursor of a deleted room, and its mark with it. */
export async function deleteCursor(db: Db, { consumer, roomId }: CursorKey): Promise<void> {
  await execute(db, "delete from timeline_cursors where consumer = ? and room_id = ?", [consumer, roomId]);
}

/** Where the consumers stand in a room, for operators. */
export function listCursors(db: Db, tenantId: string, roomId: string): Promise<Record<string, unknown>[]> {
  return rowsOf(
    db,
    `select k.consumer, k.position, k.next_attempt_at, k.attempts, k.error,
            (select count(*) from parked_entries p where p.consumer = k.consumer and p.room_id = k.room_id) as parked
       from timeline_cursors k where k.tenant_id = ? and k.room_id = ? order by k.consumer`,
    [tenantId, roomId],
  );
}

/** Deletes parked entries older than an interval, `limit` at most; returns how many. */
export async function deleteOldParkedEntries(
  db: Db,
  { olderThan, limit }: { olderThan: string; limit: number },
): Promise<number> {
  const rows = await rowsOf(
    db,
    `delete from parked_entries where ctid in (
       select ctid from parked_entries where parked_at < now() - cast(? as interval) limit ?) returning 1 as cut`,
    [olderThan, limit],
  );
  return rows.length;
}
