import type { Knex } from "knex";

// Changes on Matrix that the workers still have to handle: the room was upgraded (and continues in its successor), or its
// observer was removed.
export async function up(db: Knex): Promise<void> {
  await db.raw(
    "alter table rooms add column successor_matrix_room_id text, add column observer_left_at timestamptz",
  );
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table rooms drop column successor_matrix_room_id, drop column observer_left_at");
}
