import type { Knex } from "knex";

// A tenant may have a limited number of users and rooms that Matrix does not have yet. They are counted whenever one is made.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create index users_pending on users (tenant_id) where status = 'pending' and deleted_at is null;
    create index rooms_pending on rooms (tenant_id) where status = 'pending' and deleted_at is null;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop index users_pending, rooms_pending");
}
