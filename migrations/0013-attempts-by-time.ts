import type { Knex } from "knex";

// By their time the old ones are cut: without it, each cut reads all that are kept.
export async function up(db: Knex): Promise<void> {
  await db.raw("create index delivery_attempts_at on delivery_attempts (at)");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index delivery_attempts_at");
}
