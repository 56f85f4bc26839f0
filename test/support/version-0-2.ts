import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { DEFAULT_KIND, ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../shared/contract/content/index.ts";
import { externalEntryId, newId } from "../../shared/platform/ids.ts";

/*
 * The statements with which processes of version 0.2 accept messages, append what an observer reads, and settle messages, as
 * they stood there. They run beside processes of this version while an installation is upgraded.
 */

const INPUT = `jsonb_to_recordset(cast(:input as jsonb)) as i(position int, id uuid, tenant_id uuid, external_id text,
  kind text, slug text, client_id text, request_hash text, request_id text, content jsonb)`;

const LOCK_ROOMS = `
  select o.tenant_id as "tenantId", o.room_id as "roomId", o.next_attempt_at is null as "isIdle" from room_outbox o
   where o.room_id in (select r.id from ${INPUT}
     join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null)
   order by o.room_id for update`;

const INSERT_ALLOWED = `
  with allowed as (
    select i.position, i.id, i.tenant_id, i.client_id, i.request_hash, i.request_id, i.content, r.id as room_id,
           u.id as sender_id, o.last_order + row_number() over (partition by r.id order by i.position) as order_number
      from ${INPUT}
      join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
      join room_outbox o on o.room_id = r.id
      join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
      join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
     where u.status <> 'locked' and (i.client_id is null
        or not exists (select 1 from messages x where x.sender_id = u.id and x.client_id = i.client_id))
  ), bumped as (
    update room_outbox o
       set last_order = greatest(o.last_order, c.last_order), next_attempt_at = coalesce(o.next_attempt_at, now())
      from (select room_id, max(order_number) as last_order from allowed group by room_id) c
     where o.room_id = c.room_id
  ), inserted as (
    insert into messages (id, tenant_id, room_id, sender_id, client_id, request_hash, request_id, content, order_number)
    select id, tenant_id, room_id, sender_id, client_id, decode(request_hash, 'hex'), request_id, content, order_number
      from allowed order by position
        on conflict (sender_id, client_id) where client_id is not null do nothing
    returning id, room_id, sender_id, order_number, status, accepted_at
  )
  select n.id, n.room_id, n.sender_id, n.order_number, n.status, n.accepted_at,
         u.display_name as sender_display_name, u.avatar as sender_avatar, t.epoch, t.last_number
    from inserted n join users u on u.id = n.sender_id join room_timeline t on t.room_id = n.room_id`;

const appendOffered = (offered: string) => `
  with offered as (${offered}), counted as (
    select room_id, count(*) as added, count(*) filter (where type = any(:unread)) as messages,
           max(place) filter (where type = any(:unread)) as last_message_place,
           max(coalesce(at, now())) filter (where type = any(:unread)) as last_message_at
      from offered group by room_id
  ), bumped as (
    update room_timeline t
       set last_number = t.last_number + c.added,
           message_count = t.message_count + c.messages,
           last_message_number = coalesce(t.last_number + c.last_message_place, t.last_message_number),
           last_message_at = coalesce(c.last_message_at, t.last_message_at)
      from counted c where t.room_id = c.room_id
    returning t.room_id, t.tenant_id, t.epoch, t.last_number, t.published_number, t.last_number - c.added as base
  ), marked as (
    insert into timeline_cursors as k (consumer, room_id, tenant_id, position, next_attempt_at)
    select c.name, b.room_id, b.tenant_id, b.base, now() from bumped b cross join timeline_consumers c
        on conflict (consumer, room_id) do update set next_attempt_at = excluded.next_attempt_at
     where k.next_attempt_at is null
  ), inserted as (
    insert into timeline (room_id, number, tenant_id, entry_id, event_id, type, sender_id, sender_name, client_id, content, at)
    select o.room_id, b.base + o.place, b.tenant_id, o.entry_id, o.event_id, o.type, o.sender_id, o.sender_name,
           o.client_id, o.content, coalesce(o.at, now())
      from offered o join bumped b using (room_id)
     order by o.position
    returning *
  )
  select number from inserted`;

const IS_NEW = `
  not exists (select 1 from timeline t where t.room_id = o.room_id and t.entry_id = o.entry_id offset 0)
  and not exists (select 1 from timeline t where t.room_id = o.room_id and t.event_id = o.event_id offset 0)`;

const APPEND = appendOffered(`
  select o.*, row_number() over (partition by room_id order by position) as place
    from jsonb_to_recordset(cast(:rows as jsonb)) as o(room_id uuid, position int, entry_id uuid, event_id text, type text,
         sender_id uuid, sender_name text, client_id text, content jsonb, at timestamptz)
   where ${IS_NEW}`);

const APPEND_OWN = appendOffered(`
  select o.*, row_number() over (partition by o.room_id order by o.position) as place
    from (select s."roomId" as room_id, s.position, m.id as entry_id, s."eventId" as event_id,
                 cast(:entryTypes as jsonb) ->> coalesce(m.content ->> 'kind', :defaultKind) as type,
                 m.sender_id, cast(null as text) as sender_name, m.client_id, m.content, m.accepted_at as at
            from jsonb_to_recordset(cast(:rows as jsonb))
                   as s("roomId" uuid, position int, "messageId" uuid, "eventId" text, sender text)
            left join lateral (
              select m.* from messages m join users u on u.id = m.sender_id
               where m.id = s."messageId" and m.room_id = s."roomId" and m.timeline_number is null
                 and u.matrix_user_id = s.sender
               limit 1) m on true
           where omc_require(m.id is not null, 'OM002')
          offset 0) o
   where ${IS_NEW}`);

const SETTLE = `
  with settled as (
    select e.room_id, e.number, s.message_id, s.event_id
      from unnest(cast(:messageIds as uuid[]), cast(:eventIds as text[]), cast(:roomIds as uuid[]))
             as s(message_id, event_id, room_id)
      join timeline e on e.room_id = s.room_id and e.entry_id = s.message_id
  ), sent as (
    update messages m
       set status = 'sent', open = false, event_id = s.event_id, timeline_number = s.number, sent_at = coalesce(m.sent_at, now()),
           error_code = null, error_message = null
      from settled s where m.id = s.message_id and m.open
    returning m.id, m.room_id, m.sender_id, m.request_id, m.timeline_number
  ), read as (
    update memberships p set read_count = t.message_count
      from (select distinct room_id, sender_id from sent) w join room_timeline t on t.room_id = w.room_id
     where p.room_id = w.room_id and p.user_id = w.sender_id
  )
  select id from sent`;

/** Accepts messages of one member, in order, as the api of version 0.2 does. Returns their ids. */
export function acceptAsOld(
  db: Db,
  to: { tenantId: string; kind: string; slug: string; user: string },
  texts: readonly string[],
): Promise<string[]> {
  const rows = texts.map((text, position) => ({
    position,
    id: newId(),
    tenant_id: to.tenantId,
    external_id: to.user,
    kind: to.kind,
    slug: to.slug,
    client_id: null,
    content: { kind: "text", text },
  }));
  const input = JSON.stringify(rows);
  return db.transaction(async (trx) => {
    await rowsOf(trx, LOCK_ROOMS, { input });
    const accepted = await rowsOf<{ id: string }>(trx, INSERT_ALLOWED, { input });
    return accepted.map(({ id }) => id);
  });
}

/** An event as an observer of version 0.2 reads it: of the message `messageId`, or what somebody else wrote. */
export type OldEvent = { eventId: string; sender: string; text: string; messageId: string | null };

/**
 * Reads events of a room, oldest first, as the observer of version 0.2 does: one transaction under the timeline's lock.
 * Returns the events that it takes for duplicates, and would redact.
 */
export function observeAsOld(db: Db, roomId: string, events: readonly OldEvent[]): Promise<string[]> {
  return db.transaction(async (trx) => {
    await rowsOf(trx, "select 1 from room_timeline where room_id = ? for update", [roomId]);
    const duplicates: string[] = [];
    // One by one: the order between own and other events is that of Matrix.
    for (const event of events) {
      const own = event.messageId === null ? null : await findOwn(trx, event.messageId);
      if (own === null) await appendExternal(trx, roomId, event);
      else if (own.timeline_number === null) await settleOwn(trx, roomId, event);
      else if (own.event_id !== event.eventId) duplicates.push(event.eventId);
    }
    return duplicates;
  });
}

async function findOwn(
  trx: Db,
  id: string,
): Promise<{ timeline_number: number | null; event_id: string | null } | null> {
  const rows = await rowsOf<{ timeline_number: number | null; event_id: string | null }>(
    trx,
    "select timeline_number, event_id from messages where id = ?",
    [id],
  );
  return rows[0] ?? null;
}

async function settleOwn(trx: Db, roomId: string, { messageId, eventId, sender }: OldEvent): Promise<void> {
  await rowsOf(trx, APPEND_OWN, {
    rows: JSON.stringify([{ roomId, messageId, eventId, sender, position: 0 }]),
    unread: [...UNREAD_ENTRY_TYPES],
    entryTypes: JSON.stringify(ENTRY_TYPES),
    defaultKind: DEFAULT_KIND,
  });
  await rowsOf(trx, SETTLE, { messageIds: [messageId], eventIds: [eventId], roomIds: [roomId] });
}

async function appendExternal(trx: Db, roomId: string, { eventId, text }: OldEvent): Promise<void> {
  const row = {
    room_id: roomId,
    position: 0,
    entry_id: externalEntryId(roomId, eventId),
    event_id: eventId,
    type: "message.created",
    sender_id: null,
    sender_name: "Somebody",
    client_id: null,
    content: { kind: "text", text },
    at: null,
  };
  await rowsOf(trx, APPEND, { rows: JSON.stringify([row]), unread: [...UNREAD_ENTRY_TYPES] });
}
