import type { Knex } from "knex";

// The id of the request that brought a message. Only logs use it, so it has no index.
export async function up(db: Knex): Promise<void> {
  await db.raw("alter table messages add column request_id text");
}

export async function down(db: Knex): Promise<void> {
  await db.raw("alter table messages drop column request_id");
}
