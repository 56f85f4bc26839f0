import type { Knex } from "knex";

// The retention deletes old attempts by time: without this index, each deletion reads all attempts.
export async function up(db: Knex): Promise<void> {
  await db.raw("create index delivery_attempts_at on delivery_attempts (at)");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index delivery_attempts_at");
}
