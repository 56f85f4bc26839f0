import { ACTS, type ActKind } from "../../contract/content/acts.ts";
import { appendingCtes, STALE_STREAMS } from "../timeline/append.ts";
import { STANDING } from "../memberships/standing.ts";
import { WAITING_COUNT, JOIN_COUNTERS } from "../rooms/room-mirrors.ts";
import { LOCKED_ROOMS } from "../rooms/lock-rooms.ts";
import { holdsToken } from "../users/user-tokens.ts";

/*
 * An act counts when it is accepted: one statement changes what it changes, and appends its entry. It is the same for acts of the
 * API and of Matrix but for its beginning, which finds the message and decides about the right:
 *
 * - `candidate`: the act with its message as that is now; no row when there is no such message or person. The room's timeline
 *   is locked, and whatever changes a message's state locks it: so it stays so.
 * - `wanted`: the candidate that may act and changes something.
 * - `act`: what is really carried out, with its `number`. An act of the API exists only when its row of the outbox was inserted:
 *   the same client id may be used in another room at the same moment. So the statements of a kind read nothing but `act`.
 *
 * No row is updated by two CTEs: Postgres would apply one of them, silently.
 */

/** The effect of one kind of act in the tables: SQL about `c`, the candidate, or `act`. */
export type ActSql = {
  /** Whether the message is already as the act wants it, and whether it has place for what the act adds; of `c`. */
  isSame: string;
  fits: string;
  /** It is carried out on deleted messages too: only a deletion is not refused for them, and is the same then. */
  allowsDeleted: boolean;
  /** When it happened; of `c`. */
  at: string;
  /** By whom it is carried out on Matrix; of `wanted`. */
  actsAs: string;
  /** Whether there is anything to be done on Matrix; of `wanted`. */
  isOpen: string;
  /** What the outbox row keeps; of `wanted`. */
  content: string;
  /** CTEs that change the tables of the kind, each with a comma after it. */
  apply: string;
  /** How many rows of the outbox `apply` has ended: an SQL expression. */
  ended: string;
  /** What the entry holds; of `act`. */
  entryContent: string;
  /** Whether it removes content that stood in the stream. */
  scrubs: boolean;
  /** Columns of `message_states` that it sets, with SQL of `act`. */
  state: Readonly<Record<string, string>>;
  /** CTEs of an act of Matrix alone, each with a comma after it; of `c`. */
  note: string;
};

/** The columns of `a`, an act of the API. */
export const GIVEN_COLUMNS = `id uuid, tenant_id uuid, external_id text, signed_at_ms bigint, generation uuid, kind text, slug text,
  target uuid, client_id text, request_hash text, request_id text, room_limit bigint, content jsonb`;
const GIVEN = `jsonb_to_record(cast(:act as jsonb)) as a(${GIVEN_COLUMNS})`;

export const HOLDS_TOKEN = holdsToken({ issuedAtMs: "a.signed_at_ms", generation: "a.generation" });

/** The message `e` as it is now: columns of a candidate, and what joins them. */
export const TARGET_COLUMNS = `
  e.entry_id as target_id, e.number as target_number, e.redacted_at as target_redacted_at, e.content as target_content, e.sender_id as author_id,
  m.status, coalesce(m.replayed, false) as replayed, st.edit_number, st.pinned_number, coalesce(st.has_reactions, false) as has_reactions`;
export const TARGET_JOINS = `
  left join messages m on m.id = e.entry_id
  left join message_states st on st.room_id = e.room_id and st.message_id = e.entry_id`;

const placeFor = (isUnlimited: boolean) =>
  isUnlimited ? "true" : `(a.room_limit is null or ${WAITING_COUNT} < a.room_limit)`;

/** The statement of a kind for acts of the API. Bind actBindings. Returns one row: the outcome. */
export function acceptSql(kind: ActKind, sql: ActSql): string {
  return `
  with a as materialized (select * from ${GIVEN}),
  place as (
    select r.id as room_id, r.tenant_id, ${STANDING} as standing, u.id as user_id, o.last_order, t.last_number
      from a
      join rooms r on r.tenant_id = a.tenant_id and r.kind = a.kind and r.slug = a.slug and r.deleted_at is null and not r.adopting and r.id = any(${LOCKED_ROOMS})
      join room_outbox o on o.room_id = r.id ${JOIN_COUNTERS}
      join room_timeline t on t.room_id = r.id
      join users u on u.tenant_id = a.tenant_id and u.external_id = a.external_id and u.deleted_at is null and u.status <> 'locked' and ${HOLDS_TOKEN}
      join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
     where (a.client_id is null or not exists (select 1 from messages x where x.sender_id = u.id and x.client_id = a.client_id))
       and ${placeFor(ACTS[kind].isUnlimited)}
  ), found as (
    select a.id, a.content, a.client_id, a.request_hash, a.request_id, p.room_id, p.tenant_id, p.standing, p.user_id, p.user_id as person,
           cast(null as uuid) as sender_ref, cast(null as text) as name, cast(null as text) as event_id, now() as at, p.last_order, p.last_number,
           e.sender_id is not distinct from p.user_id as is_own, ${TARGET_COLUMNS}
      from a cross join place p
      join timeline e on e.room_id = p.room_id and e.entry_id = a.target and e.type = any(:messages) ${TARGET_JOINS}
  ), candidate as (
    select *, standing = any(case when is_own then cast(:own as text[]) else cast(:any as text[]) end) as is_allowed from found
  ), ${wanted(sql)}, kept as (
    insert into messages (id, tenant_id, room_id, sender_id, client_id, request_hash, request_id, content, order_number, target_id, acts_as,
                          status, open, sent_at)
    select id, tenant_id, room_id, user_id, client_id, decode(request_hash, 'hex'), request_id, ${sql.content}, last_order + 1, target_id, ${sql.actsAs},
           case when ${sql.isOpen} then 'queued' else 'sent' end, ${sql.isOpen}, case when ${sql.isOpen} then null else now() end
      from wanted w
        on conflict (sender_id, client_id) where client_id is not null do nothing
    returning id, open
  ), act as (
    select w.*, k.open, w.last_number + 1 as number from wanted w join kept k using (id)
  ), outbox as (
    update room_outbox o set last_order = o.last_order + 1, accepted_count = o.accepted_count + cast(act.open as int),
           next_attempt_at = case when act.open then coalesce(o.next_attempt_at, now()) else o.next_attempt_at end
      from act where o.room_id = act.room_id
  ), ${effects(kind, sql, "not act.open")}
  select case when act.id is not null then 'done' else ${refusal("c", sql)} end as outcome, a.id
    from a left join candidate c on true left join act on true`;
}

/**
 * Why a candidate of `c` is not carried out. `refused`: there is none, or its client id was used at this moment.
 * `too_many`: of what one message may have.
 */
export function refusal(c: string, { isSame, fits, allowsDeleted }: ActSql): string {
  return `case when ${c}.id is null then 'refused' when not ${c}.is_allowed then 'may_not_act'
    ${allowsDeleted ? "" : `when ${c}.target_redacted_at is not null then 'target_deleted'`}
    when ${isSame} then 'unchanged' when not (${fits}) then 'too_many' else 'refused' end`;
}

/** The CTE `wanted`. */
export function wanted({ isSame, fits, at, allowsDeleted }: ActSql): string {
  return `wanted as (
    select c.id, c.content, c.client_id, c.request_hash, c.request_id, c.room_id, c.tenant_id, c.user_id, c.person, c.sender_ref, c.name, c.event_id,
           ${at} as at, c.last_order, c.last_number, c.is_own, c.target_id, c.target_number, c.target_content, c.author_id, c.status, c.replayed,
           c.edit_number, c.pinned_number, c.has_reactions
      from candidate c
     where c.is_allowed and ${allowsDeleted ? "true" : "c.target_redacted_at is null"} and not (${isSame}) and (${fits}))`;
}

/** The CTEs that carry an act out. `isClosed`: whether it is done at once, of `act`: then `sent` passes it. */
export function effects(kind: ActKind, sql: ActSql, isClosed: string): string {
  const columns = Object.keys(sql.state);
  return `${sql.apply}
  mirror as (
    insert into room_mirrors as mirror (room_id, tenant_id, closed_count, changes, sent_due_at)
    select act.room_id, act.tenant_id, ended.count, 1, now() from act cross join (select ${sql.ended} as count) ended
     where ended.count > 0 or ${isClosed}
        on conflict (room_id) do update
       set closed_count = mirror.closed_count + excluded.closed_count, changes = mirror.changes + 1,
           sent_due_at = coalesce(mirror.sent_due_at, excluded.sent_due_at)
  ), ${appendingCtes(`
    select act.room_id, 1 as position, act.id as entry_id, act.event_id, '${ACTS[kind].entry}' as type, act.user_id as sender_id, act.name as sender_name,
           act.sender_ref, act.client_id, act.target_id as relates_to, ${sql.entryContent} as content, act.at, 1 as place,
           cast(null as bigint) as message_place, ${String(sql.scrubs)} as scrubs
      from act`)},
  ${sql.scrubs ? `${STALE_STREAMS},` : ""}
  state as (
    insert into message_states as st (room_id, message_id, tenant_id, number, revision${columns.map((name) => `, ${name}`).join("")})
    select act.room_id, act.target_id, act.tenant_id, act.target_number, act.number${columns.map((name) => `, ${sql.state[name] ?? ""}`).join("")}
      from act
        on conflict (room_id, message_id) do update
       set revision = excluded.revision${columns.map((name) => `, ${name} = excluded.${name}`).join("")}
  )`;
}
