import type { Knex } from "knex";

// Consumers of the timelines, each with a cursor per room. next_attempt_at is the mark: null when the consumer has read
// the room to its end. A room without a row has not been appended to since the consumer was registered. Its room_id has
// no foreign key: rooms are never deleted from their table, and a check of each would lock their rows.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table timeline_consumers (
      name text primary key,
      start text not null check (start in ('now', '1')),
      registered_at timestamptz not null default now()
    );
    create table timeline_cursors (
      consumer text not null,
      room_id uuid not null,
      tenant_id uuid not null,
      position bigint not null,
      next_attempt_at timestamptz,
      attempts integer not null default 0,
      error text,
      primary key (consumer, room_id)
    ) with (fillfactor = 50);
    create index timeline_cursors_due on timeline_cursors (next_attempt_at) where next_attempt_at is not null;
    create table parked_entries (
      consumer text not null,
      room_id uuid not null references rooms,
      number bigint not null,
      last_number bigint not null,
      tenant_id uuid not null,
      error text not null,
      parked_at timestamptz not null default now(),
      primary key (consumer, room_id, number)
    );
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table parked_entries, timeline_cursors, timeline_consumers");
}
