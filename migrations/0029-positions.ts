import type { Knex } from "knex";

// How far a member has read: read_number moves back when something is marked as unread, receipt_number does not. read_count is
// how many messages the room had up to read_number; own_above, how many of the member's own stand above it. A mention is found
// by its person, or by its room when it is of everybody. notify, muted_until, pinned and archived are the member's settings.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table memberships
      add column read_number bigint not null default 0,
      add column receipt_number bigint not null default 0,
      add column own_above integer not null default 0,
      add column notify text not null default 'all' check (notify in ('all', 'mentions', 'none')),
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
    update memberships s set read_number = t.last_number, receipt_number = t.last_number
      from room_timeline t where t.room_id = s.room_id and s.read_count >= t.message_count and t.last_number > 0;
    with behind as (
      select s.room_id, s.user_id, s.read_count from memberships s join room_timeline t on t.room_id = s.room_id
       where s.read_count > 0 and s.read_count < t.message_count
    ), counted as (
      select e.room_id, e.number, row_number() over (partition by e.room_id order by e.number) as place
        from timeline e where e.type = 'message.created' and e.room_id in (select room_id from behind)
    )
    update memberships s set read_number = c.number, receipt_number = c.number
      from behind b join counted c on c.room_id = b.room_id and c.place = b.read_count
     where s.room_id = b.room_id and s.user_id = b.user_id;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    drop table mentions, room_mentions;
    alter table memberships drop column read_number, drop column receipt_number, drop column own_above,
      drop column notify, drop column muted_until, drop column pinned, drop column archived;
  `);
}
