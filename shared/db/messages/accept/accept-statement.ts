import {
  CONTENT,
  DEFAULT_KIND,
  ENTRY_TYPES,
  UNREAD_ENTRY_TYPES,
  type Content,
} from "../../../contract/content/index.ts";
import type { RoomAddress } from "../../../contract/names.ts";
import { standingsAllowed } from "../../../contract/permissions.ts";
import { newId } from "../../../platform/ids.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import type { TokenStamp } from "../../../auth/token-claims.ts";
import { holdsToken } from "../../users/user-tokens.ts";
import type { Statement } from "../../connection/pipelined-transaction.ts";
import { lockMemberships } from "../../memberships/lock-memberships.ts";
import { STANDING } from "../../memberships/standing.ts";
import { LOCKED_ROOMS } from "../../rooms/lock-rooms.ts";
import { JOIN_COUNTERS, WAITING_COUNT } from "../../rooms/room-mirrors.ts";
import { appendingCtes, type AppendedRow } from "../../timeline/append.ts";
import { REPLY_JOIN } from "../../timeline/entries.ts";
import { toEntry, toMessage, type AcceptedRow } from "./accepted-row.ts";
import { SELECT_MESSAGE, type MessageRow } from "../messages.ts";

/** A message of a request. `requestHash` (hex) distinguishes a repeated request from another one with the same client id. */
export type NewMessage = {
  tenantId: string;
  user: string;
  room: RoomAddress;
  content: Content;
  clientId: string | null;
  requestHash: string | null;
  /** Of the sender's token. Null where no token stands for the sender. */
  stamp: TokenStamp | null;
  /** How many messages of the room may wait for Matrix; absent: any number. A batch that is accepted together may pass it. */
  roomLimit?: number;
  /** Id of the request, for logs; absent where there is none. */
  requestId?: string;
};

/**
 * `accepted`: with its entry in the timeline, which is to be published. `replayed`: the sender has used the client id before;
 * the row is the first request's. `token_not_held`: the existing user of the sender's name does not hold the token.
 * `room_full`: too many messages of the room wait for Matrix. `too_soon`: the room's slow mode lets the sender write again later.
 * `room_adopting`: the room's history on Matrix is still being read.
 */
export type Acceptance =
  | { outcome: "accepted"; message: MessageRow; entry: AppendedRow }
  | { outcome: "replayed"; message: MessageRow }
  | { outcome: "too_soon"; retryAfterMs: number }
  | { outcome: Refusal };

type Refusal = "token_not_held" | "no_such_room" | "may_not_post" | "room_full" | "room_adopting";

export type Accepted = Extract<Acceptance, { outcome: "accepted" }>;

/** `room_locked`: another transaction locks the room; nothing was decided. */
export type Written = Acceptance | { outcome: "room_locked" };

export const ROOM_LOCKED = { outcome: "room_locked" } as const;

/** A message as ACCEPT takes it. */
export function toInputRow(message: NewMessage, position: number) {
  return {
    position,
    id: newId(),
    tenant_id: message.tenantId,
    external_id: message.user,
    signed_at_ms: message.stamp?.issuedAtMs ?? null,
    generation: message.stamp?.generation ?? null,
    kind: message.room.kind,
    slug: message.room.slug,
    client_id: message.clientId,
    request_hash: message.requestHash,
    request_id: message.requestId ?? null,
    room_limit: message.roomLimit ?? null,
    content: message.content,
  };
}
export type InputRow = ReturnType<typeof toInputRow>;

/** Accepts messages in their order: `input` is InputRows as JSON. Their rooms are locked, see `lockRooms`. Returns AcceptedRow. */
export function acceptStatement(input: string): Statement {
  return { sql: ACCEPT, bindings: { input, ...ACCEPT_BINDINGS } };
}

/** What became of messages, in the order asked. `locked`: the rooms that are locked, by id. */
export async function describeMessages(
  db: Db,
  rows: readonly InputRow[],
  { accepted, locked }: { accepted: readonly AcceptedRow[]; locked: ReadonlySet<string> },
): Promise<Written[]> {
  const byId = new Map(accepted.map((row) => [row.entry_id, row]));
  const refused = rows.filter((row) => !byId.has(row.id));
  const explained = refused.length === 0 ? [] : await explainRefusals(db, refused);
  const refusals = new Map(explained.map((row) => [row.position, row]));
  return rows.map((row) => {
    const entry = byId.get(row.id);
    return entry
      ? { outcome: "accepted", message: toMessage(entry, row.request_hash), entry: toEntry(entry) }
      : explain(refusals.get(row.position), locked);
  });
}

/** Parameters of ACCEPT that never change; `allowed`: who may send which kind of content, as `<kind> <standing>`; `unhurried`: whom slow mode does not concern. */
const ACCEPT_BINDINGS = {
  allowed: kindsAndStandings(),
  unhurried: standingsAllowed("post without waiting"),
  unread: [...UNREAD_ENTRY_TYPES],
  entryTypes: JSON.stringify(ENTRY_TYPES),
  defaultKind: DEFAULT_KIND,
};

function kindsAndStandings(): string[] {
  return Object.entries(CONTENT).flatMap(([kind, { permission }]) =>
    standingsAllowed(permission).map((standing) => `${kind} ${standing}`),
  );
}

/** The rows of `:input`, for `lockRooms` too. */
export const INPUT = inputAs("i");

function inputAs(name: string): string {
  return `jsonb_to_recordset(cast(:input as jsonb)) as ${name}(position int, id uuid, tenant_id uuid, external_id text, signed_at_ms bigint,
  generation uuid, kind text, slug text, client_id text, request_hash text, request_id text, room_limit bigint, content jsonb)`;
}

const HOLDS_TOKEN = holdsToken({ issuedAtMs: "i.signed_at_ms", generation: "i.generation" });

/** How long the member `s` waits for the next message in the room `r`: slow mode. */
const SLOW_WAIT_MS = "coalesce(r.slow_mode_s * 1000 - extract(epoch from now() - s.last_post_at) * 1000, 0)";
/** Whether the same batch has an earlier message of the person in the room: two of one person wait for each other. */
const IS_SECOND = `exists (
  select 1 from ${inputAs("b")} where b.position < i.position and b.tenant_id = i.tenant_id and b.external_id = i.external_id
     and b.kind = i.kind and b.slug = i.slug)`;

/** Of a room's outbox `o` and the counters that `JOIN_COUNTERS` joins. */
const HAS_PLACE = `(i.room_limit is null or ${WAITING_COUNT} < i.room_limit)`;

// The messages that may be accepted. Of two with the same client id in one batch, the first. `offset 0` makes Postgres look
// each row up by its key, and expect as many rows as there are messages: else it joins CTEs by reading one for each row of the
// other.
const ALLOWED_MESSAGES = `
  select distinct on (u.id, coalesce(i.client_id, i.id::text))
         i.position, i.id, i.tenant_id, i.client_id, i.request_hash, i.request_id, i.content, r.id as room_id, u.id as sender_id, r.last_order
    from ${INPUT}
   cross join lateral (
     select r.id, r.kind, r.posting, r.is_blocked, r.slow_mode_s, o.last_order from rooms r join room_outbox o on o.room_id = r.id ${JOIN_COUNTERS}
      where r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null and not r.adopting and ${HAS_PLACE}
     offset 0) r
   cross join lateral (
     select u.id from users u
      where u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null and u.status <> 'locked' and ${HOLDS_TOKEN}
     offset 0) u
   cross join lateral (
     select from memberships s
      where s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and (i.content ->> 'kind') || ' ' || ${STANDING} = any(:allowed)
        and (r.slow_mode_s = 0 or ${STANDING} = any(:unhurried) or ${SLOW_WAIT_MS} <= 0 and not ${IS_SECOND})
     offset 0) s
   where r.id = any(${LOCKED_ROOMS}) and (i.client_id is null
      or not exists (select 1 from messages x where x.sender_id = u.id and x.client_id = i.client_id))
   order by u.id, coalesce(i.client_id, i.id::text), i.position`;

// Another transaction may insert the same client id in another room at this moment: its message is left out here. Only what
// is inserted gets a number.
const INSERTED_MESSAGES = `
  insert into messages (id, tenant_id, room_id, sender_id, client_id, request_hash, request_id, content, order_number)
  select id, tenant_id, room_id, sender_id, client_id, decode(request_hash, 'hex'), request_id, content,
         last_order + row_number() over (partition by room_id order by position)
    from allowed order by sender_id, client_id
      on conflict (sender_id, client_id) where client_id is not null do nothing
  returning id, tenant_id, room_id, sender_id, client_id, request_id, content, order_number, status, accepted_at`;

/** Offers them to their timelines: see `appendingCtes`. */
const OFFERED_MESSAGES = `
  select room_id, row_number() over (order by room_id, order_number) as position, id as entry_id, cast(null as text) as event_id,
         cast(:entryTypes as jsonb) ->> coalesce(content ->> 'kind', :defaultKind) as type, sender_id, cast(null as text) as sender_name,
         cast(null as uuid) as sender_ref, false as scrubs, client_id, cast(null as uuid) as relates_to, content, accepted_at as at, status, request_id, order_number,
         row_number() over (partition by room_id order by order_number) as place,
         row_number() over (partition by room_id order by order_number) as message_place
    from fresh`;

// Who writes has read up to the own last message, and nothing that others wrote behind it in the same batch.
const WRITERS = `
  select o.room_id, o.sender_id as user_id, b.message_base + max(o.message_place) as message_count, b.base + max(o.place) as last_number
    from offered o join bumped b on b.room_id = o.room_id group by o.room_id, o.sender_id, b.message_base, b.base`;

// A statement of its own: it sees what was committed while the locks were waited for.
const ACCEPT = `
  with allowed as (${ALLOWED_MESSAGES}), fresh as (${INSERTED_MESSAGES}),
  outbox as (
    update room_outbox o
       set last_order = c.last_order, accepted_count = o.accepted_count + c.added, next_attempt_at = coalesce(o.next_attempt_at, now())
      from (select room_id, max(order_number) as last_order, count(*) as added from fresh group by room_id) c
     where o.room_id = c.room_id
  ), ${appendingCtes(OFFERED_MESSAGES)},
  read as (
    update memberships p set last_post_at = now(), read_count = w.message_count, read_number = w.last_number, receipt_number = w.last_number, own_above = 0
      from (${lockMemberships(WRITERS)}) w where p.room_id = w.room_id and p.user_id = w.user_id
  )
  select b.room_id, b.base + e.place as number, e.entry_id, e.type, e.client_id, e.content, e.at, e.sender_id, u.external_id as sender_user,
         u.display_name as sender_display_name, u.avatar as sender_avatar, r.kind, r.slug, e.status, e.request_id, e.order_number,
         b.tenant_id, b.epoch, b.last_number, b.scrubs, answered.reply
    from offered e join bumped b on b.room_id = e.room_id
    join rooms r on r.id = e.room_id join users u on u.id = e.sender_id ${REPLY_JOIN}
   order by e.position`;

type RefusedRow = Omit<MessageRow, "id"> & {
  position: number;
  id: string | null;
  is_held: boolean;
  may_post: boolean;
  is_adopting: boolean;
  found_room: string | null;
  member_role: string | null;
  /** Null where slow mode does not make the sender wait. */
  slow_wait_ms: number | null;
};

function explainRefusals(db: Db, rows: readonly InputRow[]): Promise<RefusedRow[]> {
  return rowsOf<RefusedRow>(
    db,
    `select i.position, u.id is null or ${HOLDS_TOKEN} as is_held, coalesce(u.status <> 'locked' and (i.content ->> 'kind') || ' ' || ${STANDING} = any(:allowed), false) as may_post, coalesce(r.adopting, false) as is_adopting, r.id as found_room, s.role as member_role,
            case when r.slow_mode_s > 0 and ${STANDING} <> all(:unhurried) then cast(ceil(${SLOW_WAIT_MS}) as int) end as slow_wait_ms, m.*
       from ${INPUT}
       left join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
       left join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
       left join (${SELECT_MESSAGE}) m on m.sender_id = u.id and m.client_id = i.client_id`,
    { input: JSON.stringify(rows), allowed: ACCEPT_BINDINGS.allowed, unhurried: ACCEPT_BINDINGS.unhurried },
  );
}

function explain(refusal: RefusedRow | undefined, locked: ReadonlySet<string>): Written {
  if (refusal?.found_room && !locked.has(refusal.found_room)) return ROOM_LOCKED;
  if (refusal?.is_held === false) return { outcome: "token_not_held" };
  if (refusal?.id) return { outcome: "replayed", message: { ...refusal, id: refusal.id } };
  if (refusal?.may_post && refusal.slow_wait_ms !== null && refusal.slow_wait_ms > 0)
    return { outcome: "too_soon", retryAfterMs: refusal.slow_wait_ms };
  if (refusal?.may_post && refusal.is_adopting) return { outcome: "room_adopting" };
  // Nothing else refuses a message of a member who may write. By now there may be a place again.
  if (refusal?.may_post) return { outcome: "room_full" };
  if (refusal?.found_room && refusal.member_role) return { outcome: "may_not_post" };
  return { outcome: "no_such_room" };
}
