import type { Knex } from "knex";

/*
 * What decides about rights beside roles: slow mode, mutes, bans and blocks. `rooms.rights_lowered_at`: since when fewer people may
 * write in the room. `rooms.described_at`: when name, topic or avatar were changed last. `rooms.is_blocked`: one of the two people of a direct room blocks the other. `bans`: who may not come into a
 * room; `is_ended`: the ban is over, and Matrix does not know yet.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table rooms
      add column slow_mode_s integer not null default 0 check (slow_mode_s between 0 and 3600),
      add column is_blocked boolean not null default false,
      add column rights_lowered_at timestamptz,
      add column described_at timestamptz;
    alter table memberships
      add column silenced_until timestamptz,
      add column last_post_at timestamptz;
    create index memberships_silenced on memberships (room_id, silenced_until) where silenced_until is not null;
    create table bans (
      room_id uuid not null,
      user_id uuid not null,
      tenant_id uuid not null,
      by_id uuid,
      reason text,
      at timestamptz not null default now(),
      is_ended boolean not null default false,
      is_applied boolean not null default false,
      primary key (room_id, user_id));
    create index bans_unapplied on bans (room_id) where not is_applied;
    create index message_states_pinned on message_states (room_id, pinned_number) where pinned_number is not null;
  `);
}

// Version 0.3 knows no pins: those that wait for Matrix are dropped.
export async function down(db: Knex): Promise<void> {
  await db.raw(`
    update timeline set type = 'room.changed', content = '{"changed": {}}' where type in ('message.pinned', 'message.unpinned');
    update room_outbox o set accepted_count = o.accepted_count - a.count
      from (select room_id, count(*) as count from messages where content ->> 'kind' in ('pin', 'unpin') and open group by room_id) a
     where a.room_id = o.room_id;
    delete from messages where target_id is not null and content ->> 'kind' in ('pin', 'unpin');
    update message_states set pinned_number = null where pinned_number is not null;
    drop index message_states_pinned;
    drop table bans;
    alter table memberships drop column silenced_until, drop column last_post_at;
    alter table rooms drop column slow_mode_s, drop column is_blocked, drop column rights_lowered_at, drop column described_at;
  `);
}
