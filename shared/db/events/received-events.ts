import { execute, rowsOf, type Db } from "../connection/open.ts";

/** An event with the same source and id as one of these has no effect for this long. */
const REMEMBERED_FOR = "7 days";

/** What names an event of a tenant. */
export type EventName = { source: string; id: string };

/** Records events that came, each named once. Returns those that are new. */
export function recordEvents(trx: Db, tenantId: string, events: readonly EventName[]): Promise<EventName[]> {
  return rowsOf<EventName>(trx, RECORD, {
    tenantId,
    sources: events.map(({ source }) => source),
    ids: events.map(({ id }) => id),
  });
}

// In their order: two transactions that record the same events wait for each other at the first of them.
const RECORD = `
  insert into received_events as r (tenant_id, source, event_id)
  select :tenantId, e.source, e.id from unnest(cast(:sources as text[]), cast(:ids as text[])) as e(source, id)
   order by e.source collate "C", e.id collate "C"
      on conflict (tenant_id, source, event_id) do update set received_at = now()
   where r.received_at < now() - interval '${REMEMBERED_FOR}'
  returning source, event_id as id`;

/** Forgets events of before, `limit` at most. Returns how many. */
export async function forgetEvents(db: Db, limit: number): Promise<number> {
  const rows = await rowsOf<{ count: number }>(
    db,
    `with gone as (
       delete from received_events where (tenant_id, source, event_id) in (
         select tenant_id, source, event_id from received_events where received_at < now() - interval '${REMEMBERED_FOR}'
          order by received_at limit ?)
       returning 1)
     select count(*) as count from gone`,
    [limit],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Locks names until the transaction ends, in an order that all transactions share: of two calls that name the same, one waits for
 * the other, also where there is no row yet. Each lock is waited for at most `waitMs`, those of the transaction that follow too.
 */
export async function lockNames(trx: Db, names: readonly string[], waitMs: number): Promise<void> {
  await execute(trx, "select set_config('lock_timeout', cast(? as text), true)", [`${waitMs}ms`]);
  await execute(
    trx,
    `select pg_advisory_xact_lock(key) from (
       select distinct hashtextextended(name, 0) as key from unnest(cast(? as text[])) as n(name) order by key offset 0) sorted`,
    [[...names]],
  );
}
