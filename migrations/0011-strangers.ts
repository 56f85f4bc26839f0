import type { Knex } from "knex";

// Somebody whom the tenant does not want may be in the room on Matrix: seen then, and not yet looked for.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table rooms add column strangers_seen_at timestamptz");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table rooms drop column strangers_seen_at");
}
