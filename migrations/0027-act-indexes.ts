import type { Knex } from "knex";

// Acts are found by their message, in the outbox and in the timeline; deleted messages by their number.
const INDEXES = {
  messages_target: "messages (target_id) where target_id is not null",
  messages_retry_wanted: "messages (room_id) where retry_wanted",
  timeline_related: "timeline (room_id, relates_to, type) where relates_to is not null",
  timeline_removed: "timeline (room_id, number) where redacted_at is not null and ordinal is not null",
};

export async function up(db: Knex): Promise<void> {
  for (const [name, of] of Object.entries(INDEXES)) {
    // One whose building was interrupted stays, and is not used.
    await db.raw(`drop index if exists ${name}`);
    await db.raw(`create index concurrently ${name} on ${of}`);
  }
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`drop index if exists ${Object.keys(INDEXES).join(", ")}`);
}

// Built beside running processes: a plain index would keep them from accepting messages meanwhile.
export const config = { transaction: false };
