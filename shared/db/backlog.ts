import { rowsOf, type Db } from "./connection/open.ts";

/** What waits in Postgres. Counts of messages stop at 100,000, so that they cost little. */
const BACKLOG = {
  openMessages:
    "select count(*) as value from (select 1 from messages where open limit 100000) open_messages",
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
  unpublishedTimelines: "select count(*) as value from room_timeline where published_number < last_number",
  oldestUnpublishedSeconds: `
    select extract(epoch from now() - min(e.at)) as value
      from room_timeline t join timeline e on e.room_id = t.room_id and e.number = t.published_number + 1
     where t.published_number < t.last_number`,
  openGaps: "select count(*) as value from room_timeline where gap_next_attempt_at is not null",
  observersOut:
    "select count(*) as value from rooms where observer_left_at is not null and deleted_at is null",
} as const;

export type Backlog = keyof typeof BACKLOG;

/** A count or an age in seconds; 0 when nothing waits. */
export async function readBacklog(db: Db, name: Backlog): Promise<number> {
  const rows = await rowsOf<{ value: number | string | null }>(db, BACKLOG[name], []);
  return Number(rows[0]?.value ?? 0);
}
