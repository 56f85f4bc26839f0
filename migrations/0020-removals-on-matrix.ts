import type { Knex } from "knex";

// What others did to a member on Matrix: see `shared/db/memberships/removals.ts`.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table memberships
      add column is_banned boolean not null default false,
      add column removal_event_id text,
      add column settled_removal_id text`);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    alter table memberships
      drop column is_banned, drop column removal_event_id, drop column settled_removal_id`);
}
