import type { Knex } from "knex";

// tokens_valid_from: tokens of the user with a smaller `iat` are refused. product_tokens_valid_from: the same for tokens
// that name no generation of the user, which are those that the product signs; of a user whose name was another's before
// it is 31 s after that one's deletion. Users who were made so within the life of a token (24 h) get it here. Direct rooms
// with a deleted user end, as they do with every deletion from now on: else the next user of the name reads them.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table users
      add column tokens_valid_from timestamptz not null default 'epoch',
      add column product_tokens_valid_from timestamptz not null default 'epoch';
    create index users_by_name on users (tenant_id, external_id, deleted_at);
    create index memberships_ended on memberships (user_id) where desired = 'out';
    update users u set product_tokens_valid_from = former.deleted_at + interval '31 s'
      from (select tenant_id, external_id, max(deleted_at) as deleted_at from users
             where deleted_at > now() - interval '25 hours' group by tenant_id, external_id) former
     where u.tenant_id = former.tenant_id and u.external_id = former.external_id and u.deleted_at is null;
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone', 'tokens.revoked'));
  `);
  await db.raw(END_DIRECT_ROOMS_OF_DELETED);
}

const END_DIRECT_ROOMS_OF_DELETED = `
  with ended as (
    update rooms r
       set deleted_at = now(), desired_version = desired_version + 1, next_attempt_at = now(), attempts = 0,
           members_next_attempt_at = null, member_count = 0
     where r.kind = 'direct' and r.deleted_at is null
       and exists (select 1 from memberships m join users u on u.id = m.user_id and u.deleted_at is not null
                    where m.room_id = r.id)
    returning r.id
  ), ended_memberships as (
    update memberships m set desired = 'out', version = version + 1, error = null, updated_at = now()
      from ended where m.room_id = ended.id and m.desired = 'in'
    returning m.room_id, m.user_id, m.tenant_id
  ), dead as (
    update messages m
       set status = 'dead', open = false, error_code = 'room_deleted',
           error_message = 'The room was deleted before the message was sent.'
      from ended where m.room_id = ended.id and m.open and m.status <> 'sent'
  ), closed as (
    update messages m set open = false from ended where m.room_id = ended.id and m.open and m.status = 'sent'
  )
  insert into notices (id, tenant_id, kind, user_id, room_id)
  select gen_random_uuid(), tenant_id, 'room.removed', user_id, room_id from ended_memberships`;

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    delete from notices where kind = 'tokens.revoked';
    alter table notices drop constraint notices_kind_check;
    alter table notices add constraint notices_kind_check
      check (kind in ('room.added', 'room.removed', 'user.gone'));
    drop index memberships_ended;
    drop index users_by_name;
    alter table users drop column tokens_valid_from, drop column product_tokens_valid_from;
  `);
}
