import type { Knex } from "knex";

// A message gets its number when it is accepted. `numbered` is false for messages that a process of version 0.2 accepts.
// room_mirrors has what Matrix has of a room: it changes with what comes from there, so it stands in no row that acceptance
// locks. unpublished_rooms marks rooms whose timeline may be ahead of their stream. Rooms and users are never removed, and
// checking the four keys that named them took half the time of accepting a message. seen_event_id is event_id, once an observer
// has seen the event: event_id itself is in no index, so that marking a message as sent stays on its page.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- Acceptance reads it first: then neither waits for the other.
    lock table rooms in access exclusive mode;
    alter table messages add column numbered boolean not null default false, add column seen_event_id text, add column met_in uuid;
    alter table room_outbox add column accepted_count bigint not null default 0, add column failing_since timestamptz;
    alter table room_timeline add column rereading uuid;
    alter table messages drop constraint messages_room_id_fkey, drop constraint messages_sender_id_fkey;
    alter table timeline drop constraint timeline_room_id_fkey, drop constraint timeline_sender_id_fkey;
    create table room_mirrors (
      room_id uuid primary key,
      tenant_id uuid not null,
      closed_count bigint not null default 0,
      changes bigint not null default 0,
      sent_number bigint not null default 0,
      sent_due_at timestamptz
    ) with (fillfactor = 50);
    create index room_mirrors_sent_due on room_mirrors (sent_due_at) where sent_due_at is not null;
    create index room_outbox_tenant on room_outbox (tenant_id);
    create table unpublished_rooms (
      room_id uuid primary key,
      since timestamptz not null default now()
    );
    insert into room_mirrors (room_id, tenant_id, sent_number) select room_id, tenant_id, last_number from room_timeline;
    insert into unpublished_rooms (room_id) select room_id from room_timeline where published_number < last_number;
  `);
}

// Version 0.2 publishes from where published_number says, and knows no entries about messages: they become changes of nothing.
export async function down(db: Knex): Promise<void> {
  await db.raw(`
    update room_timeline t set published_number = last_number
     where not exists (select 1 from unpublished_rooms u where u.room_id = t.room_id);
    update timeline set type = 'room.changed', content = '{"changed": {}}'
     where type in ('message.failed', 'message.requeued', 'message.deleted');
    drop table unpublished_rooms, room_mirrors;
    drop index room_outbox_tenant;
    alter table room_timeline drop column rereading;
    alter table room_outbox drop column accepted_count, drop column failing_since;
    alter table messages drop column numbered, drop column seen_event_id, drop column met_in,
      add foreign key (room_id) references rooms, add foreign key (sender_id) references users;
    alter table timeline add foreign key (room_id) references rooms, add foreign key (sender_id) references users;
  `);
}
