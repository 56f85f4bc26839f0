import type { Knex } from "knex";

// A room's gap that began at the room's beginning, however far it is filled by now: where it ends, what Matrix has is
// known whole, and so is what it has forgotten.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline add column is_rereading boolean not null default false");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline drop column is_rereading");
}
