import type { Knex } from "knex";

// A room keeps the alias of its first slug when it is renamed, and its former slugs lead to it. People shut their direct rooms.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- Null: of version 0.3, the alias of the present slug and generation, which never changed there.
    alter table rooms add column alias_localpart text;
    create table former_slugs (
      tenant_id uuid not null references tenants,
      kind text not null,
      slug text not null,
      generation integer not null,
      room_id uuid not null references rooms,
      renamed_at timestamptz not null default now(),
      primary key (tenant_id, kind, slug, generation)
    );
    create table blocks (
      user_id uuid not null references users,
      blocked_id uuid not null references users,
      created_at timestamptz not null default now(),
      primary key (user_id, blocked_id),
      check (user_id <> blocked_id)
    );
    create index blocks_blocked on blocks (blocked_id);
    -- The key that a renamed room had: the event is published later.
    alter table notices add column former_key text;
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'room.renamed', 'user.gone', 'tokens.revoked', 'settings'));
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    delete from notices where kind = 'room.renamed';
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked', 'settings'));
    alter table notices drop column former_key;
    drop table blocks;
    drop table former_slugs;
    alter table rooms drop column alias_localpart;
  `);
}
