import { execute, rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_DUE } from "../provisioning-due.ts";

/*
 * An erasure empties what a deleted user wrote. It is made by the transaction that deletes the user, or later, and carried out by
 * the job `erasure` in two steps:
 *
 * 1. `erasure_rooms` names the rooms that the user was in, and how far each is emptied (`erase-entries.ts`).
 * 2. `erasure_events` names the events on Matrix that are still to be redacted.
 *
 * Of a user whom a domain event deletes, it begins when the user has left all rooms: until then it is due never.
 *
 * It is due from `next_attempt_at` on, and done when both are empty: `finished_at`.
 */

/** Where an erasure stands. `entries`: of the rooms' timelines, to be looked through; `messages`: that were emptied. */
export type ErasureRow = {
  entries: number;
  entries_done: number;
  messages: number;
  events: number;
  events_done: number;
  started_at: Date;
  finished_at: Date | null;
};

const START = `
  with made as (
    insert into erasures (user_id, tenant_id, entries) values (:userId, :tenantId, 0) on conflict do nothing returning user_id
  ), rooms as (
    insert into erasure_rooms (user_id, room_id, up_to)
    select made.user_id, s.room_id, t.last_number
      from made join memberships s on s.user_id = made.user_id join room_timeline t on t.room_id = s.room_id
     where t.last_number > 0
    returning up_to
  ), reasons as (
    update bans b set reason = null from made where b.by_id = made.user_id
  ), forgotten as (
    update users u set display_name = null, avatar = null from made where u.id = made.user_id
  )
  select coalesce(sum(up_to), 0) as entries from rooms`;

/**
 * Starts the erasure of a user who is deleted, unless there is one. The user's name and avatar, and the reasons that
 * the user gave for bans, are gone at once.
 */
export async function startErasure(trx: Db, tenantId: string, userId: string): Promise<void> {
  const [found] = await rowsOf<{ entries: number }>(trx, START, { tenantId, userId });
  await execute(trx, "update erasures set entries = entries + :entries where user_id = :userId", {
    userId,
    entries: found?.entries ?? 0,
  });
}

const MARK = `
  with gone as (
    select distinct on (u.external_id) u.id from unnest(cast(:names as text[])) as asked(name)
      join users u on u.tenant_id = :tenantId and u.external_id = asked.name and u.deleted_at is not null
     order by u.external_id, u.deleted_at desc, u.id desc
  ), made as (
    insert into erasures (user_id, tenant_id, entries, next_attempt_at) select id, :tenantId, 0, 'infinity' from gone
        on conflict do nothing returning user_id
  )
  update users u set display_name = null, avatar = null, ${PROVISIONING_DUE} from made where u.id = made.user_id returning u.id`;

/**
 * Marks the users of these names who were deleted last to be erased, once they have left all rooms. Their names and avatars are gone
 * at once. Returns their ids: the provisioning job of each goes on.
 */
export async function markErasures(trx: Db, tenantId: string, names: readonly string[]): Promise<string[]> {
  const rows = await rowsOf<{ id: string }>(trx, MARK, { tenantId, names: [...names] });
  return rows.map(({ id }) => id);
}

const BEGIN = `
  with waiting as (
    select user_id from erasures where user_id = :userId and next_attempt_at = 'infinity' for update
  ), rooms as (
    insert into erasure_rooms (user_id, room_id, up_to)
    select w.user_id, s.room_id, t.last_number
      from waiting w join memberships s on s.user_id = w.user_id join room_timeline t on t.room_id = s.room_id
     where t.last_number > 0
    returning up_to
  )
  update erasures e set entries = e.entries + (select coalesce(sum(up_to), 0) from rooms), next_attempt_at = now()
    from waiting w where e.user_id = w.user_id returning e.user_id`;

/** Begins the erasure of a user who is marked to be erased and has left all rooms. Returns whether it does. */
export async function beginErasure(db: Db, userId: string): Promise<boolean> {
  return (await rowsOf(db, BEGIN, { userId })).length > 0;
}

/** The row id of the user of a name who was deleted last; undefined for none. */
export async function findDeletedUser(db: Db, tenantId: string, name: string): Promise<string | undefined> {
  const rows = await rowsOf<{ id: string }>(
    db,
    `select id from users where tenant_id = ? and external_id = ? and deleted_at is not null
      order by deleted_at desc, id desc limit 1`,
    [tenantId, name],
  );
  return rows[0]?.id;
}

/** The newest erasure of a deleted user of a name; undefined for none. */
export async function findErasure(db: Db, tenantId: string, name: string): Promise<ErasureRow | undefined> {
  const rows = await rowsOf<ErasureRow>(
    db,
    `select e.entries, e.entries_done, e.messages, e.events, e.events_done, e.started_at, e.finished_at
       from users u join erasures e on e.user_id = u.id
      where u.tenant_id = ? and u.external_id = ? and u.deleted_at is not null
      order by u.deleted_at desc, u.id desc limit 1`,
    [tenantId, name],
  );
  return rows[0];
}

/** An erasure that is due, of a tenant that is not paused; undefined for none. */
export async function findDueErasure(
  db: Db,
  tenantId: string,
  userId: string,
): Promise<{ attempts: number; homeserver_id: string } | undefined> {
  const rows = await rowsOf<{ attempts: number; homeserver_id: string }>(
    db,
    `select e.attempts, t.homeserver_id from erasures e join tenants t on t.id = e.tenant_id
      where e.tenant_id = ? and e.user_id = ? and e.next_attempt_at <= now() and t.status = 'active'`,
    [tenantId, userId],
  );
  return rows[0];
}

/** An event to be redacted. `event_id` null: the message is being sent, and has none yet. */
export type ErasedEvent = {
  room_id: string;
  entry_id: string;
  event_id: string | null;
  is_sending: boolean;
  is_room_deleted: boolean;
  matrix_room_id: string | null;
  observer_matrix_id: string;
};

/** Events of an erasure that are still to be redacted, `limit` at most. */
export function findErasedEvents(db: Db, userId: string, limit: number): Promise<ErasedEvent[]> {
  return rowsOf<ErasedEvent>(
    db,
    `select x.room_id, x.entry_id, coalesce(x.event_id, m.seen_event_id, m.event_id) as event_id,
            coalesce(m.open and m.status = 'sending', false) as is_sending,
            r.deleted_at is not null as is_room_deleted, r.matrix_room_id, o.matrix_user_id as observer_matrix_id
       from erasure_events x
       join rooms r on r.id = x.room_id
       join observers o on o.id = r.observer_id
       left join messages m on m.id = x.entry_id
      where x.user_id = :userId
      order by coalesce(m.open and m.status = 'sending', false), x.room_id, x.entry_id limit :limit`,
    { userId, limit },
  );
}

/** Records that an event is redacted, or that there is none. */
export async function markEventErased(
  db: Db,
  userId: string,
  { room_id: roomId, entry_id: entryId }: Pick<ErasedEvent, "room_id" | "entry_id">,
): Promise<void> {
  await execute(
    db,
    `with done as (
       delete from erasure_events where user_id = :userId and room_id = :roomId and entry_id = :entryId returning 1
     )
     update erasures set events_done = events_done + 1, attempts = 0, error = null
      where user_id = :userId and exists (select 1 from done)`,
    { userId, roomId, entryId },
  );
}

/** The erasure is due again after `delayMs`, after a failure or without one. */
export async function rescheduleErasure(
  db: Db,
  userId: string,
  { delayMs, attempts, error }: { delayMs: number; attempts: number; error: string | null },
): Promise<void> {
  await execute(
    db,
    `update erasures set next_attempt_at = now() + :delayMs * interval '1 millisecond', attempts = :attempts, error = :error
      where user_id = :userId and finished_at is null`,
    { userId, delayMs, attempts, error },
  );
}

/** Ends an erasure of which nothing is left to do. Returns whether it has ended. */
export async function finishErasure(db: Db, userId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `update erasures e set finished_at = now(), next_attempt_at = null, attempts = 0, error = null
      where e.user_id = :userId and not exists (select 1 from erasure_rooms r where r.user_id = e.user_id)
        and not exists (select 1 from erasure_events x where x.user_id = e.user_id)
     returning 1 as one`,
    { userId },
  );
  return rows.length > 0;
}

/** Whether events of a room wait to be redacted, or may be found yet: its observer must not leave the room before. */
export async function hasErasure(db: Db, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 from erasure_rooms where room_id = :roomId union all
     select 1 from erasure_events where room_id = :roomId limit 1`,
    { roomId },
  );
  return rows.length > 0;
}
