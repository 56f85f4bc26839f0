import type { Knex } from "knex";

// The domain events that were accepted: one with the same source and id has no effect for seven days. And the product's own
// messages, which have no sender: a client id is used once in the tenant.
export async function up(db: Knex): Promise<void> {
  // It may be repeated: an index beside running processes is built outside of a transaction.
  await db.raw(`
    create table if not exists received_events (
      tenant_id uuid not null,
      source text not null,
      event_id text not null,
      received_at timestamptz not null default now(),
      primary key (tenant_id, source, event_id)
    );
    create index if not exists received_events_age on received_events (received_at);
  `);
  // One whose building was interrupted stays, and is not used.
  await db.raw("drop index if exists messages_of_products");
  await db.raw(`create unique index concurrently messages_of_products on messages (tenant_id, client_id)
    where sender_id is null and client_id is not null`);
}

// Migration 0026 removes the product's messages when it goes back.
export async function down(db: Knex): Promise<void> {
  await db.raw("drop index if exists messages_of_products");
  await db.raw("drop table received_events");
}

export const config = { transaction: false };
