import type { Knex } from "knex";

// desired: what the tenant wants. applied: what Matrix has. read_count: the room's message count when the member last read.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table memberships (
      room_id uuid not null references rooms,
      user_id uuid not null references users,
      tenant_id uuid not null,
      role text not null check (role in ('owner', 'admin', 'moderator', 'speaker', 'member', 'guest')),
      desired text not null default 'in' check (desired in ('in', 'out')),
      version integer not null default 1,
      applied text not null default 'out' check (applied in ('in', 'out')),
      applied_version integer not null default 0,
      applied_level integer not null default 0,
      read_count bigint not null default 0,
      opened_at timestamptz,
      error text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (room_id, user_id)
    );
    create index memberships_user on memberships (user_id) where desired = 'in';
    create index memberships_unapplied on memberships (room_id) where version <> applied_version;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table memberships");
}
