/**
 * Locks the outboxes and timelines of rooms, in id order, for a batch of messages and acts that is accepted in one transaction.
 * `input`: a query of (tenant_id, kind, slug). The next statements read which rooms are locked from a setting of the transaction.
 *
 * Both rows of one room come before the rows of the next: a transaction that locks outboxes first waits at the first of them.
 */
export function lockRooms(input: string, how: "" | "skip locked"): string {
  return `
  with locked as (
    select r.id as "roomId", r.tenant_id as "tenantId", r.kind, r.slug, o.next_attempt_at is null as "isIdle"
      from (select distinct tenant_id, kind, slug from ${input}) i
      join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
      join room_outbox o on o.room_id = r.id
      join room_timeline t on t.room_id = o.room_id
     order by o.room_id for update of o, t ${how}
  ), kept as (
    select set_config('omc.locked_rooms', cast(coalesce(array_agg("roomId"), '{}') as text), true) from locked
  )
  select locked.* from locked cross join kept`;
}

/** What `lockRooms` has locked in this transaction: an SQL array of row ids. */
export const LOCKED_ROOMS =
  "array(select unnest(cast(nullif(current_setting('omc.locked_rooms', true), '') as uuid[])))";
