import type { Knex } from "knex";

// profile_changed_at: since when a new name or avatar is to be announced to the rooms of a user; name_version: the version of the
// profile that changed the name, which alone Matrix has. What deleted people wrote is emptied by `erasures`, room by room, from
// after_number to up_to; erasure_events are still to be redacted on Matrix. cut_number: the entries up to it are gone, since the
// room keeps its messages for retention_days only. adopting: the history of an adopted Matrix room is being read. not_before: what
// Matrix has from before is not taken over. adopted_people were in the Matrix room when it was adopted, and may stay there.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table users
      add column profile_changed_at timestamptz,
      add column name_version integer not null default 0;
    create index users_profile_changed on users (profile_changed_at) where profile_changed_at is not null;
    -- Acceptance reads it first: then neither waits for the other.
    lock table rooms in access exclusive mode;
    alter table rooms
      add column retention_days integer not null default 0 check (retention_days between 0 and 3650),
      add column adopting boolean not null default false;
    create index rooms_retention on rooms (id) where retention_days > 0;
    alter table room_timeline add column cut_number bigint not null default 0, add column not_before timestamptz;
    create table adopted_people (
      room_id uuid,
      matrix_user_id text,
      primary key (room_id, matrix_user_id)
    );
    create table erasures (
      user_id uuid primary key,
      tenant_id uuid not null,
      entries bigint not null,
      entries_done bigint not null default 0,
      messages bigint not null default 0,
      events bigint not null default 0,
      events_done bigint not null default 0,
      next_attempt_at timestamptz default now(),
      attempts integer not null default 0,
      error text,
      started_at timestamptz not null default now(),
      finished_at timestamptz
    );
    create index erasures_due on erasures (next_attempt_at) where next_attempt_at is not null;
    create table erasure_rooms (
      user_id uuid,
      room_id uuid,
      after_number bigint not null default 0,
      up_to bigint not null,
      has_emptied boolean not null default false,
      primary key (user_id, room_id)
    );
    create table erasure_events (
      user_id uuid,
      room_id uuid,
      entry_id uuid,
      event_id text,
      primary key (user_id, room_id, entry_id)
    );
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    drop table adopted_people, erasure_events, erasure_rooms, erasures;
    alter table room_timeline drop column cut_number, drop column not_before;
    drop index rooms_retention;
    alter table rooms drop column retention_days, drop column adopting;
    drop index users_profile_changed;
    alter table users drop column profile_changed_at, drop column name_version;
  `);
}
