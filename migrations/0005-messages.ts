import type { Knex } from "knex";

// open: the message is neither in the timeline nor dead. Outbound work reads one index, which covers open rows only. No
// indexed column of a message changes except open, so an update of its status stays on its page (a HOT update).
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table messages (
      id uuid primary key,
      tenant_id uuid not null,
      room_id uuid not null references rooms,
      sender_id uuid not null references users,
      client_id text,
      request_hash bytea,
      content jsonb not null,
      order_number bigint not null,
      status text not null default 'queued' check (status in ('queued', 'sending', 'sent', 'dead')),
      open boolean not null default true,
      error_code text,
      error_message text,
      event_id text,
      timeline_number bigint,
      attempts integer not null default 0,
      accepted_at timestamptz not null default now(),
      sent_at timestamptz
    ) with (fillfactor = 80);
    create unique index messages_client_id on messages (sender_id, client_id) where client_id is not null;
    create unique index messages_open on messages (room_id, order_number) where open;
    create index messages_open_tenant on messages (tenant_id) where open;
    create table delivery_attempts (
      id uuid primary key,
      tenant_id uuid not null,
      message_id uuid not null references messages on delete cascade,
      at timestamptz not null default now(),
      failure text not null,
      detail text not null
    );
    create index delivery_attempts_message on delivery_attempts (message_id, at);
    create table timeline (
      room_id uuid not null references rooms,
      number bigint not null,
      tenant_id uuid not null,
      entry_id uuid not null,
      event_id text,
      type text not null,
      sender_id uuid references users,
      sender_name text,
      client_id text,
      content jsonb not null,
      at timestamptz not null,
      relates_to uuid,
      redacted_at timestamptz,
      primary key (room_id, number)
    );
    create unique index timeline_entry on timeline (room_id, entry_id);
    create unique index timeline_event on timeline (room_id, event_id);
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw("drop table timeline, delivery_attempts, messages");
}
