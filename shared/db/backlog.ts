import { rowsOf, type Db } from "./connection/open.ts";
import { JOIN_COUNTERS, WAITING_COUNT } from "./rooms/room-mirrors.ts";
import { DEFAULT_QUEUED_MESSAGES, DEFAULT_ROOM_MESSAGES } from "./tenants/tenants.ts";

/** What waits in Postgres. A count of messages is the sum of the rooms' counters, or stops at 100,000. */
const BACKLOG = {
  openMessages: `
    select coalesce(sum(${WAITING_COUNT}), 0) as value from room_outbox o ${JOIN_COUNTERS}`,
  tenantShare: `
    select max(w.waiting / coalesce(cast(t.limits ->> 'queuedMessages' as float8), ${DEFAULT_QUEUED_MESSAGES})) as value
      from (select o.tenant_id, sum(${WAITING_COUNT}) as waiting
              from room_outbox o ${JOIN_COUNTERS} group by o.tenant_id) w
      join tenants t on t.id = w.tenant_id`,
  roomShare: `
    select max(${WAITING_COUNT}
             / coalesce(cast(t.limits ->> 'roomMessages' as float8), ${DEFAULT_ROOM_MESSAGES})) as value
      from room_outbox o ${JOIN_COUNTERS} join tenants t on t.id = o.tenant_id`,
  unseenMessages: `
    select count(*) as value from (
      select 1 from messages where open and status = 'sent' and sent_at < now() - interval '30 seconds' limit 100000
    ) unseen_messages`,
  oldestDueSeconds: `
    select extract(epoch from now() - min(m.accepted_at)) as value
      from room_outbox x join tenants t on t.id = x.tenant_id and t.status = 'active'
      join lateral (select accepted_at from messages where room_id = x.room_id and open and status in ('queued', 'sending')
                     order by order_number limit 1) m on true
     where x.next_attempt_at is not null`,
  unpublishedTimelines:
    "select count(*) as value from unpublished_rooms where since < now() - interval '2 seconds'",
  oldestUnpublishedSeconds: "select extract(epoch from now() - min(since)) as value from unpublished_rooms",
  sentDueSeconds: "select extract(epoch from now() - min(sent_due_at)) as value from room_mirrors",
  openGaps: "select count(*) as value from room_timeline where gap_next_attempt_at is not null",
  roomsToResend:
    "select count(*) as value from room_timeline where rereading is not null and gap_from is null",
  observersOut:
    "select count(*) as value from rooms where observer_left_at is not null and deleted_at is null",
} as const;

export type Backlog = keyof typeof BACKLOG;

/** A count, an age in seconds or a share; 0 when nothing waits. */
export async function readBacklog(db: Db, name: Backlog): Promise<number> {
  const rows = await rowsOf<{ value: number | string | null }>(db, BACKLOG[name], []);
  return Number(rows[0]?.value ?? 0);
}
