import type { Knex } from "knex";

// Acts on messages (edits, deletions, reactions) are rows of `messages` with a target. What a message is now stands in
// message_states, in one row for each message that was acted on. No foreign keys: see 0024. The content that a deletion empties
// stood in the room's stream: scrubs counts the streams that a room had, stale_streams names those that are to be removed.
export async function up(db: Knex): Promise<void> {
  await requireNumbers(db);
  await db.raw(`
    -- Acceptance reads it first: then neither waits for the other.
    lock table rooms in access exclusive mode;
    -- Checked by 0031: a check that is valid at once reads the table under this lock.
    alter table rooms add column posting text not null default 'everyone',
      add constraint rooms_posting_check check (posting in ('everyone', 'speakers')) not valid;
    alter table messages
      alter column numbered set default true,
      add column target_id uuid,
      add column acts_as text not null default 'sender',
      add constraint messages_acts_as_check check (acts_as in ('sender', 'observer')) not valid,
      add column retry_wanted boolean not null default false,
      add column replayed boolean not null default false,
      alter column sender_id drop not null;
    alter table timeline add column ordinal bigint, add column sender_ref uuid;
    alter table room_timeline add column scrubs integer not null default 0;
    create table message_states (
      room_id uuid,
      message_id uuid,
      tenant_id uuid not null,
      number bigint not null,
      revision bigint not null,
      edit_number bigint,
      deleted_number bigint,
      pinned_number bigint,
      has_reactions boolean not null default false,
      primary key (room_id, message_id)
    ) with (fillfactor = 70);
    create table reactions (
      room_id uuid,
      message_id uuid,
      key text,
      person uuid,
      tenant_id uuid not null,
      user_id uuid,
      name text,
      number bigint not null,
      at timestamptz not null,
      primary key (room_id, message_id, key, person)
    );
    create index reactions_person on reactions (room_id, message_id, person);
    create table reaction_counts (
      room_id uuid,
      message_id uuid,
      key text,
      count integer not null,
      users uuid[] not null,
      rose_at bigint not null,
      primary key (room_id, message_id, key)
    ) with (fillfactor = 70);
    create table reaction_events (
      room_id uuid,
      event_id text,
      message_id uuid not null,
      key text not null,
      person uuid not null,
      removed boolean not null default false,
      primary key (room_id, event_id)
    );
    create index reaction_events_of on reaction_events (room_id, message_id, key, person);
    create table waiting_acts (
      room_id uuid,
      event_id text,
      tenant_id uuid not null,
      target_event_id text not null,
      act jsonb not null,
      since timestamptz not null default now(),
      primary key (room_id, event_id)
    );
    create index waiting_acts_target on waiting_acts (room_id, target_event_id);
    create table stale_streams (
      room_id uuid,
      epoch text,
      scrubs integer,
      since timestamptz not null default now(),
      primary key (room_id, epoch, scrubs)
    );
  `);
}

// Version 0.2 accepted messages without a number, and 0.3 gave them one.
async function requireNumbers(db: Knex): Promise<void> {
  const { rows } = await db.raw<{ rows: unknown[] }>(`
    select 1 from messages m
     where m.open and not m.numbered and not exists (select 1 from timeline e where e.room_id = m.room_id and e.entry_id = m.id)
     limit 1`);
  if (rows.length > 0)
    throw new Error(
      "Messages of version 0.2 wait for Matrix and have no number. Upgrade by way of version 0.3: its workers number them within seconds. Then migrate again.",
    );
}

// Version 0.3 knows no acts: what is accepted and waits for Matrix is dropped, but the text of an edited message stays, also for
// Matrix when that has nothing of the message yet. Entries of types that it does not know become changes of nothing, kinds of
// messages that it does not know become text. It publishes to a room's first stream, so rooms that have left it get a new epoch.
export async function down(db: Knex): Promise<void> {
  await db.raw(`
    update timeline e set content = (e.content - '{format,html,mentions}'::text[]) || (w.content - '{kind,of}'::text[])
      from message_states s join timeline w on w.room_id = s.room_id and w.number = s.edit_number
     where e.room_id = s.room_id and e.entry_id = s.message_id and s.deleted_number is null;
    update messages m set content = e.content
      from message_states s join timeline e on e.room_id = s.room_id and e.entry_id = s.message_id
     where s.edit_number is not null and s.deleted_number is null and m.id = s.message_id and m.open and m.status = 'queued' and not m.replayed;
    update timeline set type = 'room.changed', content = '{"changed": {}}'
     where type not in ('message.created', 'message.failed', 'message.requeued', 'message.deleted',
                        'member.joined', 'member.left', 'member.changed', 'room.changed')
        or type in ('message.failed', 'message.requeued') and coalesce(content ->> 'act', 'message') <> 'message';
    update timeline set content = content || '{"kind": "text"}' where type = 'message.created' and content ->> 'kind' <> 'text';
    update room_outbox o set accepted_count = o.accepted_count - a.count
      from (select room_id, count(*) as count from messages where (target_id is not null or sender_id is null) and open group by room_id) a
     where a.room_id = o.room_id;
    delete from messages where target_id is not null or sender_id is null;
    update messages set content = content || '{"kind": "text"}' where content ->> 'kind' <> 'text';
    insert into unpublished_rooms (room_id) select room_id from room_timeline where scrubs > 0 on conflict do nothing;
    update room_timeline set epoch = gen_random_uuid() where scrubs > 0;
    drop table stale_streams, waiting_acts, reaction_events, reaction_counts, reactions, message_states;
    alter table room_timeline drop column scrubs;
    alter table timeline drop column ordinal, drop column sender_ref;
    alter table messages alter column numbered set default false, drop column target_id, drop column acts_as, drop column retry_wanted, drop column replayed,
      alter column sender_id set not null;
    alter table rooms drop column posting;
  `);
}
