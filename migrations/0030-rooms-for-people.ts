import type { Knex } from "knex";

// People find public rooms and join those that are open. Settings of a room, and that a user is locked, reach every device of
// that user by the outbox of user events.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table rooms add column join_rule text not null default 'invite' check (join_rule in ('open', 'invite'));
    create index rooms_directory on rooms (tenant_id, lower(name) collate "C", id)
      where visibility = 'public' and deleted_at is null;
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked', 'settings'));
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    delete from notices where kind = 'settings';
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked'));
    drop index rooms_directory;
    alter table rooms drop column join_rule;
  `);
}
