import type { Knex } from "knex";

// Operators list the dead messages of a room. The condition names error_code, not status: a column in the condition of an
// index keeps its updates from staying on their page, and only the death of a message changes error_code.
export async function up(db: Knex): Promise<void> {
  // One whose building was interrupted stays, and is not used.
  await db.raw("drop index if exists messages_dead");
  await db.raw(
    "create index concurrently messages_dead on messages (room_id, order_number) where error_code is not null",
  );
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index if exists messages_dead");
}

// Built beside running processes: a plain index would keep them from accepting messages meanwhile.
export const config = { transaction: false };
