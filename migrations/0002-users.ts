import type { Knex } from "knex";

// next_attempt_at: when work on the row is due, or null. The sweeper reads this column only.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table users (
      id uuid primary key,
      tenant_id uuid not null references tenants,
      external_id text not null,
      display_name text,
      avatar text,
      matrix_user_id text not null unique,
      status text not null default 'pending' check (status in ('pending', 'ready', 'locked', 'failed')),
      desired_version integer not null default 1,
      applied_version integer not null default 0,
      next_attempt_at timestamptz default now(),
      attempts integer not null default 0,
      error text,
      created_at timestamptz not null default now(),
      deleted_at timestamptz
    );
    create unique index users_living on users (tenant_id, external_id) where deleted_at is null;
    create index users_due on users (next_attempt_at) where next_attempt_at is not null;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table users");
}
