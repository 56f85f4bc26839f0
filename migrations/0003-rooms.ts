import type { Knex } from "knex";

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table observers (
      id uuid primary key,
      tenant_id uuid not null references tenants,
      matrix_user_id text not null unique,
      is_registered boolean not null default false,
      created_at timestamptz not null default now()
    );
    create index observers_tenant on observers (tenant_id);
    create table sync_positions (
      observer_id uuid primary key references observers,
      since text,
      fence uuid,
      lease_until timestamptz,
      last_success_at timestamptz
    );
    create table rooms (
      id uuid primary key,
      tenant_id uuid not null references tenants,
      kind text not null check (kind in ('event', 'group', 'direct')),
      slug text not null,
      generation integer not null default 1,
      name text not null,
      topic text,
      avatar text,
      visibility text not null default 'private' check (visibility in ('private', 'public')),
      observer_id uuid not null references observers,
      matrix_room_id text unique,
      status text not null default 'pending' check (status in ('pending', 'ready', 'failed')),
      desired_version integer not null default 1,
      applied_version integer not null default 0,
      next_attempt_at timestamptz default now(),
      attempts integer not null default 0,
      error text,
      members_desired_version integer not null default 0,
      members_applied_version integer not null default 0,
      members_next_attempt_at timestamptz,
      members_attempts integer not null default 0,
      members_error text,
      member_count integer not null default 0,
      encrypted_at timestamptz,
      created_at timestamptz not null default now(),
      deleted_at timestamptz
    );
    create unique index rooms_living on rooms (tenant_id, kind, slug) where deleted_at is null;
    create unique index rooms_generation on rooms (tenant_id, kind, slug, generation);
    create index rooms_due on rooms (next_attempt_at) where next_attempt_at is not null;
    create index rooms_members_due on rooms (members_next_attempt_at) where members_next_attempt_at is not null;
    -- Columns that change with every message have narrow tables of their own.
    create table room_outbox (
      room_id uuid primary key references rooms,
      tenant_id uuid not null,
      last_order bigint not null default 0,
      next_attempt_at timestamptz,
      attempts integer not null default 0,
      fence uuid,
      lease_until timestamptz
    ) with (fillfactor = 50);
    create index room_outbox_due on room_outbox (next_attempt_at) where next_attempt_at is not null;
    create table room_timeline (
      room_id uuid primary key references rooms,
      tenant_id uuid not null,
      epoch text not null,
      last_number bigint not null default 0,
      published_number bigint not null default 0,
      message_count bigint not null default 0,
      last_message_number bigint,
      last_message_at timestamptz,
      gap_from text,
      gap_to text,
      gap_next_attempt_at timestamptz,
      gap_attempts integer not null default 0
    ) with (fillfactor = 50);
    create index room_timeline_unpublished on room_timeline (room_id) where published_number < last_number;
    create index room_timeline_gaps on room_timeline (gap_next_attempt_at) where gap_next_attempt_at is not null;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table room_timeline, room_outbox, rooms, sync_positions, observers");
}
