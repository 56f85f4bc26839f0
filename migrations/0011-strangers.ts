import type { Knex } from "knex";

// When an unknown user may have joined the room on Matrix; null once a worker has removed the unknown users.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table rooms add column strangers_seen_at timestamptz");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table rooms drop column strangers_seen_at");
}
