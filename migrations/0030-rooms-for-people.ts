import type { Knex } from "knex";

// People find public rooms and join those that are open. Settings of a room, and that a user is locked, reach every device of
// that user by the outbox of user events. 0031 checks the rows and builds the index of public rooms.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table rooms add column join_rule text not null default 'invite',
      add constraint rooms_join_rule_check check (join_rule in ('open', 'invite')) not valid;
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked', 'settings')) not valid;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    delete from notices where kind = 'settings';
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked'));
    alter table rooms drop column join_rule;
  `);
}
