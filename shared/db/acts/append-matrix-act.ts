import { ACT_KINDS, ACTS, type ActContent, type ActKind } from "../../contract/content/acts.ts";
import { MESSAGE_ENTRY_TYPES, UNREAD_ENTRY_TYPES } from "../../contract/content/index.ts";
import { standingsAllowed } from "../../contract/permissions.ts";
import { externalEntryId } from "../../platform/ids.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { STANDING } from "../memberships/standing.ts";
import { editRemovalSql } from "./edit-removal.ts";
import { effects, refusal, TARGET_COLUMNS, TARGET_JOINS, wanted, type ActSql } from "./frame.ts";
import { ACT_SQL } from "./index.ts";

/** An act that a person has carried out on Matrix. */
export type MatrixAct = {
  roomId: string;
  /** Of a pin: the event and the message. */
  eventId: string;
  /** The event that it is about: of a message; of a reaction or an edit where those are redacted. */
  targetEventId: string;
  kind: ActKind;
  content: ActContent;
  senderMatrixId: string;
  /** Row id of the user, and the name: null for an unknown user and for a known one. */
  userId: string | null;
  name: string | null;
  /** See `Person`. */
  ref: string;
  at: Date | string;
};

/**
 * - `done`: with its entry, whose id this is. Publish the room by `publishRooms`: the entry, and the message before it, are to be
 *   read as they are after the transaction.
 * - `unchanged`: it is known, or the message is already so. A reaction is noted all the same.
 * - `parked`: nothing here has the target's event; it is kept in `waiting_acts`.
 * - `refused`: the person may not, or there are too many.
 */
export type MatrixOutcome = { outcome: "done" | "unchanged" | "parked" | "refused"; id: string | null };

/** What may have the event of a reaction or an edit instead of a message's. */
type Subject = "message" | "reaction" | "edit";

/**
 * Appends an act of Matrix, where the room's timeline is locked. It decides about the right by the person's role here; what an
 * unknown person does to the message of another counts as Matrix has let it. Returns MatrixOutcome.
 */
export function appendMatrixAct(act: MatrixAct): Statement {
  return toStatement(STATEMENTS[act.kind], act, act.kind);
}

/**
 * Appends a redaction on the same terms: the removal of a reaction, of an edit, or of a message. Only one of the statements has
 * an outcome; the others return no row.
 */
export function appendRedaction(act: MatrixAct & { kind: "deletion" }): Statement[] {
  return [
    toStatement(REMOVE_REACTION, act, "deletion"),
    toStatement(REMOVE_EDIT, act, "deletion"),
    appendMatrixAct(act),
  ];
}

function toStatement(sql: string, act: MatrixAct, kind: ActKind): Statement {
  const { own, any } = ACTS[kind];
  return {
    sql,
    bindings: {
      act: JSON.stringify({ ...act, id: externalEntryId(act.roomId, act.eventId) }),
      own: standingsAllowed(own),
      any: standingsAllowed(any),
      isOpenToUnknown: any !== null,
      messages: [...MESSAGE_ENTRY_TYPES],
      unread: [...UNREAD_ENTRY_TYPES],
    },
  };
}

const GIVEN = `jsonb_to_record(cast(:act as jsonb)) as g(id uuid, "roomId" uuid, "eventId" text, "targetEventId" text, content jsonb,
  "userId" uuid, name text, ref uuid, at timestamptz)`;

/** How many acts of a room may wait for their messages. */
const MAX_WAITING = 1_000;

/** The message that has the event: one of Matrix, ours that an observer has seen, or ours that was sent. */
const MESSAGE_OF_EVENT = `
  select e.* from timeline e where e.room_id = g."roomId" and e.event_id = g."targetEventId" and e.type = any(:messages)
  union all
  select e.* from messages s join timeline e on e.room_id = s.room_id and e.entry_id = s.id and e.type = any(:messages)
   where s.room_id = g."roomId" and s.seen_event_id = g."targetEventId"
  union all
  select e.* from messages s join timeline e on e.room_id = s.room_id and e.entry_id = s.id and e.type = any(:messages)
   where s.room_id = g."roomId" and s.open and s.event_id = g."targetEventId"
  limit 1`;

/** Whether the event is one of a reaction or an edit: such acts are not kept for a message. */
const IS_OF_ACT = `
  exists (select 1 from reaction_events x where x.room_id = g."roomId" and x.event_id = g."targetEventId")
  or exists (select 1 from timeline x where x.room_id = g."roomId" and x.event_id = g."targetEventId")
  or exists (select 1 from messages x where x.room_id = g."roomId" and x.seen_event_id = g."targetEventId")`;

/** Whether one event may hold several such acts: their entries have no event. */
const IS_PART = "g.content ->> 'kind' = any('{pin,unpin}')";

const IS_KNOWN = `
  exists (select 1 from timeline k where k.room_id = g."roomId" and k.event_id = g."eventId")
  or exists (select 1 from reaction_events k where k.room_id = g."roomId" and k.event_id = g."eventId")
  or (${IS_PART} and exists (select 1 from timeline k where k.room_id = g."roomId" and k.entry_id = g.id))`;

/** The columns of `found` that the given act has. */
const GIVEN_COLUMNS = `
  g.id, cast(null as text) as client_id, cast(null as text) as request_hash, cast(null as text) as request_id,
  g."roomId" as room_id, t.tenant_id, ${STANDING} as standing, g."userId" as user_id, g.ref as sender_ref, g.name,
  case when ${IS_PART} then cast(null as text) else g."eventId" end as event_id, g.at, cast(null as bigint) as last_order, t.last_number, e.number as entry_number`;

const GIVEN_JOINS = `
  join room_timeline t on t.room_id = g."roomId"
  join rooms r on r.id = g."roomId"
  left join memberships s on s.room_id = g."roomId" and s.user_id = g."userId" and s.desired = 'in'`;

const IS_OWN =
  'case when g."userId" is null then e.sender_id is null and e.sender_ref = g.ref else e.sender_id = g."userId" end';

const FOUND: Record<Subject, string> = {
  message: `
    select ${GIVEN_COLUMNS}, g.content, g.ref as person, coalesce(${IS_OWN}, false) as is_own, ${TARGET_COLUMNS}
      from g ${GIVEN_JOINS} cross join lateral (${MESSAGE_OF_EVENT}) e ${TARGET_JOINS}`,
  reaction: `
    select ${GIVEN_COLUMNS}, jsonb_build_object('kind', 'unreaction', 'key', x.key, 'event', g."targetEventId") as content, x.person,
           x.person = g.ref as is_own, ${TARGET_COLUMNS}
      from g ${GIVEN_JOINS}
      join reaction_events x on x.room_id = g."roomId" and x.event_id = g."targetEventId"
      join timeline e on e.room_id = g."roomId" and e.entry_id = x.message_id ${TARGET_JOINS}`,
  edit: `
    select ${GIVEN_COLUMNS}, jsonb_build_object('kind', 'edit-removal', 'number', v.number) as content, g.ref as person,
           coalesce(${IS_OWN}, false) as is_own, ${TARGET_COLUMNS}
      from g ${GIVEN_JOINS}
      cross join lateral (
        select v.number, v.relates_to from timeline v where v.room_id = g."roomId" and v.event_id = g."targetEventId" and v.type = 'message.edited'
        union all
        select v.number, v.relates_to from messages w join timeline v on v.room_id = w.room_id and v.entry_id = w.id and v.type = 'message.edited'
         where w.room_id = g."roomId" and w.seen_event_id = g."targetEventId"
        limit 1) v
      join timeline e on e.room_id = g."roomId" and e.entry_id = v.relates_to ${TARGET_JOINS}`,
};

function matrixSql(kind: ActKind, sql: ActSql, subject: Subject): string {
  const parks = subject === "message";
  return `
  with g as materialized (select * from ${GIVEN}),
  found as (${FOUND[subject]}),
  candidate as (
    select *, case when user_id is null then is_own or cast(:isOpenToUnknown as boolean)
                   else coalesce(standing = any(case when is_own then cast(:own as text[]) else cast(:any as text[]) end), false) end as is_allowed
      from found where not exists (select 1 from g where ${IS_KNOWN})
  ), ${wanted(sql)}, act as (
    select w.*, false as open, w.last_number + 1 as number from wanted w
  ), ${sql.note}${effects(kind, sql, "false")}
  ${parks ? `, ${PARKED}` : ""}${parks && kind === "deletion" ? `, ${DROPPED}` : ""}
  select case when act.id is not null then 'done' ${parks ? "when exists (select 1 from parked) then 'parked'" : ""}
              when f.id is null then 'refused' when c.id is null then 'unchanged'
              when ${refusal("c", sql)} in ('unchanged', 'target_deleted') then 'unchanged' else 'refused' end as outcome, act.id
    from g left join found f on true left join candidate c on true left join act on true
   where ${parks ? `f.id is not null or not (${IS_OF_ACT})` : "f.id is not null"}`;
}

const IS_DELETED = `
  g.content ->> 'kind' <> 'deletion' and exists (
    select 1 from waiting_acts d where d.room_id = g."roomId" and d.target_event_id = g."targetEventId" and d.act ->> 'kind' = 'deletion')`;

const PARKED = `parked as (
    insert into waiting_acts (room_id, event_id, tenant_id, target_event_id, act)
    select g."roomId", g."eventId", t.tenant_id, g."targetEventId", cast(:act as jsonb)
      from g join room_timeline t on t.room_id = g."roomId"
     where not exists (select 1 from found) and not (${IS_KNOWN}) and not (${IS_OF_ACT}) and not (${IS_DELETED})
       and (select count(*) from waiting_acts w where w.room_id = g."roomId") < ${MAX_WAITING}
        on conflict do nothing
    returning 1)`;

/** Of what is redacted, nothing is kept but the redaction: an edit that waits has a text. */
const DROPPED = `dropped as (
    delete from waiting_acts w using g, parked
     where w.room_id = g."roomId" and w.target_event_id = g."targetEventId" and w.act ->> 'kind' <> 'deletion')`;

const STATEMENTS = Object.fromEntries(
  ACT_KINDS.map((kind) => [kind, matrixSql(kind, ACT_SQL[kind], "message")]),
) as Record<ActKind, string>;

/*
 * A person and key may have several events on Matrix, and one of ours on its way: the reaction ends with the last of them.
 */
const REMOVE_REACTION = matrixSql(
  "unreaction",
  {
    ...ACT_SQL.unreaction,
    isSame: `(${ACT_SQL.unreaction.isSame}) or exists (
      select 1 from reaction_events x where x.room_id = c.room_id and x.message_id = c.target_id and x.key = c.content ->> 'key'
         and x.person = c.person and not x.removed and x.event_id <> c.content ->> 'event')
      or exists (
      select 1 from messages w where w.target_id = c.target_id and w.sender_id = c.person and w.open and w.event_id is null
         and w.content ->> 'kind' = 'reaction' and w.content ->> 'key' = c.content ->> 'key')`,
    note: `
  noted as (
    update reaction_events x set removed = true from candidate c
     where c.is_allowed and x.room_id = c.room_id and x.event_id = c.content ->> 'event'
  ),`,
  },
  "reaction",
);

const REMOVE_EDIT = matrixSql("edit", editRemovalSql, "edit");
