import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { gauge, type Registry } from "../../shared/platform/metrics.ts";

/** How much waits, and how long already: from Postgres, which knows; no queue does. */
export function registerBacklogGauges(registry: Registry, db: Db): void {
  gauge(
    registry,
    { name: "omc_messages_open", help: "Messages accepted and not yet in a timeline (counted to 100,000)" },
    () =>
      readNumber(
        db,
        "select count(*) as value from (select 1 from messages where open limit 100000) open_messages",
      ),
  );
  gauge(
    registry,
    {
      name: "omc_messages_unseen",
      help: "Messages that a homeserver took 30 s ago or earlier and has not shown (counted to 100,000)",
    },
    () =>
      readNumber(
        db,
        `select count(*) as value from (
           select 1 from messages where open and status = 'sent' and sent_at < now() - interval '30 seconds' limit 100000
         ) unseen_messages`,
      ),
  );
  gauge(
    registry,
    { name: "omc_oldest_due_seconds", help: "Age of the oldest message that waits to be sent" },
    () =>
      readNumber(
        db,
        `select extract(epoch from now() - min(m.accepted_at)) as value
         from room_outbox x
         join lateral (select accepted_at from messages where room_id = x.room_id and open and status in ('queued', 'sending')
                        order by order_number limit 1) m on true
        where x.next_attempt_at is not null`,
      ),
  );
  gauge(
    registry,
    { name: "omc_timelines_unpublished", help: "Rooms whose stream is behind their timeline" },
    () => readNumber(db, "select count(*) as value from room_timeline where published_number < last_number"),
  );
  gauge(
    registry,
    {
      name: "omc_oldest_unpublished_seconds",
      help: "Age of the oldest timeline entry that is not in its stream",
    },
    () =>
      readNumber(
        db,
        `select extract(epoch from now() - min(e.at)) as value
           from room_timeline t join timeline e on e.room_id = t.room_id and e.number = t.published_number + 1
          where t.published_number < t.last_number`,
      ),
  );
  gauge(registry, { name: "omc_gaps_open", help: "Rooms with a gap that is not yet filled" }, () =>
    readNumber(db, "select count(*) as value from room_timeline where gap_next_attempt_at is not null"),
  );
}

async function readNumber(db: Db, sql: string): Promise<number> {
  try {
    const rows = await rowsOf<{ value: number | string | null }>(db, sql, []);
    return Number(rows[0]?.value ?? 0);
  } catch {
    // A scrape must not fail with the database: the other figures are wanted then most of all.
    return Number.NaN;
  }
}
