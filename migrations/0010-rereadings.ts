import type { Knex } from "knex";

// The gap of this room began at the start of the room. When such a gap is filled, the whole history on Matrix was read:
// messages that are not in it are missing on Matrix.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline add column is_rereading boolean not null default false");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table room_timeline drop column is_rereading");
}
