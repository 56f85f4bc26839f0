import type { Knex } from "knex";

// When a big room's count of members is to be told, of people who came one by one; null when there is nothing to tell.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table room_timeline add column count_due_at timestamptz;
    create index room_timeline_counts on room_timeline (count_due_at) where count_due_at is not null;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline drop column count_due_at");
}
