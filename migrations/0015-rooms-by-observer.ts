import type { Knex } from "knex";

// A process that starts to read for an observer loads all of its rooms, and each minute a worker counts them.
export async function up(db: Knex): Promise<void> {
  await db.raw("create index rooms_observer on rooms (observer_id) where deleted_at is null");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index rooms_observer");
}
