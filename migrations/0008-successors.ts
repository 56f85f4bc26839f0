import type { Knex } from "knex";

// What happened to a room on Matrix that is still to be dealt with: it was upgraded (and goes on elsewhere), or its
// observer was put out.
export async function up(db: Knex): Promise<void> {
  await db.raw(
    "alter table rooms add column successor_matrix_room_id text, add column observer_left_at timestamptz",
  );
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table rooms drop column successor_matrix_room_id, drop column observer_left_at");
}
