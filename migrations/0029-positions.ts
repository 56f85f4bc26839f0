import type { Knex } from "knex";

// How far a member has read: read_number moves back when something is marked as unread, receipt_number does not. read_count is
// how many messages the room had up to read_number; own_above, how many of the member's own stand above it. A mention is found
// by its person, or by its room when it is of everybody. notify, muted_until, pinned and archived are the member's settings.
// 0031 fills in what was read before, and checks the rows.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table memberships
      add column read_number bigint not null default 0,
      add column receipt_number bigint not null default 0,
      add column own_above integer not null default 0,
      add column notify text not null default 'all',
      add constraint memberships_notify_check check (notify in ('all', 'mentions', 'none')) not valid,
      add column muted_until timestamptz,
      add column pinned boolean not null default false,
      add column archived boolean not null default false;
    create table mentions (
      user_id uuid,
      room_id uuid,
      number bigint,
      message_id uuid not null,
      primary key (user_id, room_id, number)
    );
    create index mentions_message on mentions (message_id);
    create table room_mentions (
      room_id uuid,
      number bigint,
      message_id uuid not null,
      sender uuid,
      primary key (room_id, number)
    );
    create index room_mentions_message on room_mentions (message_id);
  `);
}

// Version 0.3 counts a member's own messages as unread, unless they are read.
export async function down(db: Knex): Promise<void> {
  await db.raw(`
    update memberships set read_count = read_count + own_above where own_above > 0;
    drop table mentions, room_mentions;
    alter table memberships drop column read_number, drop column receipt_number, drop column own_above,
      drop column notify, drop column muted_until, drop column pinned, drop column archived;
  `);
}
