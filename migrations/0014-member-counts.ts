import type { Knex } from "knex";

// When the changed member count of a large room is due for publication; null when it is published.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table room_timeline add column count_due_at timestamptz;
    create index room_timeline_counts on room_timeline (count_due_at) where count_due_at is not null;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline drop column count_due_at");
}
