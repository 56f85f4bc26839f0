import type { Knex } from "knex";

// An event is one message, and a message that a process of version 0.2 accepts is found without reading the others. The index
// of unpublished timelines named last_number, so that no update of a timeline stayed on its page.
export async function up(db: Knex): Promise<void> {
  // One whose building was interrupted stays, and is not used.
  await db.raw("drop index if exists messages_event");
  await db.raw(
    "create unique index concurrently messages_event on messages (room_id, seen_event_id) where seen_event_id is not null",
  );
  await db.raw("drop index if exists messages_unnumbered");
  await db.raw(
    "create index concurrently messages_unnumbered on messages (room_id, order_number) where open and not numbered",
  );
  await db.raw("drop index if exists room_timeline_to_resend");
  await db.raw(
    "create index concurrently room_timeline_to_resend on room_timeline (room_id) where rereading is not null and gap_from is null",
  );
  await db.raw("drop index concurrently if exists room_timeline_unpublished");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index if exists messages_event, messages_unnumbered, room_timeline_to_resend");
  await db.raw(
    "create index room_timeline_unpublished on room_timeline (room_id) where published_number < last_number",
  );
}

// Built beside running processes: a plain index would keep them from accepting messages meanwhile.
export const config = { transaction: false };
