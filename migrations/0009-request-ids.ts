import type { Knex } from "knex";

// The id of the request that a message came with, for logs alone: it is searched for nowhere.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table messages add column request_id text");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table messages drop column request_id");
}
