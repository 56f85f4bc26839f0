import type { Knex } from "knex";

// Whoever reads for an observer begins anew with all of its rooms, and each minute they are counted.
export async function up(db: Knex): Promise<void> {
  await db.raw("create index rooms_observer on rooms (observer_id) where deleted_at is null");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index rooms_observer");
}
