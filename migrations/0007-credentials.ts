import type { Knex } from "knex";

// Only in mode admin: an Application Service needs no token per account.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table credentials (
      matrix_user_id text primary key,
      homeserver_id uuid not null references homeservers,
      device_id text not null,
      sealed_token text not null,
      updated_at timestamptz not null default now()
    );
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table credentials");
}
