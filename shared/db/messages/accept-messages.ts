import { CONTENT, type Content } from "../../contract/content/index.ts";
import type { RoomAddress } from "../../contract/names.ts";
import { rolesAllowed } from "../../contract/permissions.ts";
import { newId } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { TokenStamp } from "../../auth/token-claims.ts";
import { holdsToken } from "../users/user-tokens.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";
import type { MessageStatus } from "../../contract/resources.ts";
import { appendingCtes, type AppendedRow } from "../timeline/append.ts";
import { markOlder, OFFERED_BINDINGS, OFFERED_MESSAGES } from "./number-older.ts";
import { SELECT_MESSAGE, type MessageRow } from "./messages.ts";

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
  /** Id of the request, for logs; absent where there is none. */
  requestId?: string;
};

/**
 * `accepted`: with its entry in the timeline, which is to be published. `replayed`: the sender has used the client id before;
 * the row is the first request's. `token_not_held`: the existing user of the sender's name does not hold the token.
 * `room_full`: too many messages of the room wait for Matrix.
 */
export type Acceptance =
  | { outcome: "accepted"; message: MessageRow; entry: AppendedRow }
  | { outcome: "replayed"; message: MessageRow }
  | { outcome: Refusal };

type Refusal = "token_not_held" | "no_such_room" | "may_not_post" | "room_full";

export type Accepted = Extract<Acceptance, { outcome: "accepted" }>;

/** A drain locks a room for some milliseconds. A longer lock is not waited for, since the other rooms are locked meanwhile. */
const LOCK_WAIT_MS = 250;

/** A room without messages that wait. */
export type IdleRoom = { tenantId: string; roomId: string };

/**
 * Accepts messages in one transaction, in the given order: each gets its room's next order number, and an entry with the
 * next number of its room's timeline. The rooms' outboxes and timelines are locked first, in id order, so that a member's
 * removal comes either before the message (which is refused) or after it (and marks it dead). Returns the outcomes in the
 * given order. The caller publishes the entries.
 *
 * `onLocked` gets the rooms without messages that wait, to wake them while the transaction still runs: the drain waits
 * for the lock and then sees the messages. In the other rooms a drain is awake already; it sends these messages too, or
 * wakes the room when it releases the lease.
 * @throws a lock timeout when a room is locked for 250 ms; then no message is accepted.
 */
export async function acceptMessages(
  db: Db,
  messages: readonly NewMessage[],
  onLocked: (idle: readonly IdleRoom[]) => void = () => undefined,
): Promise<Acceptance[]> {
  const rows = messages.map((message, position) => ({
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
    content: message.content,
  }));
  const input = JSON.stringify(rows);
  type Locked = IdleRoom & { isIdle: boolean };
  const [, accepted] = await transactPipelined<[Locked[], AcceptedRow[]]>(
    db,
    [
      { sql: LOCK_ROOMS, bindings: { input } },
      { sql: ACCEPT, bindings: { input, ...ACCEPT_BINDINGS } },
    ],
    {
      onFirst: (rooms) => {
        onLocked(rooms.filter(({ isIdle }) => isIdle));
      },
      lockWaitMs: LOCK_WAIT_MS,
    },
  );
  const byId = new Map(accepted.map((row) => [row.entry_id, row]));
  const isComplete = rows.every(({ id }) => byId.has(id));
  const explained = isComplete
    ? []
    : await explainRefusals(
        db,
        rows.filter((row) => !byId.has(row.id)),
      );
  const refusals = new Map(explained.map((row) => [row.position, row]));
  return rows.map(({ id, position, request_hash: requestHash }) => {
    const entry = byId.get(id);
    return entry ? describe(entry, requestHash) : explain(refusals.get(position));
  });
}

function describe({ order_number, ...entry }: AcceptedRow, requestHash: string | null): Accepted {
  const message: MessageRow = {
    id: entry.entry_id,
    tenant_id: entry.tenant_id,
    room_id: entry.room_id,
    sender_id: entry.sender_id,
    kind: entry.kind,
    slug: entry.slug,
    client_id: entry.client_id,
    request_hash: requestHash,
    request_id: entry.request_id,
    content: entry.content,
    order_number,
    status: entry.status,
    error_code: null,
    error_message: null,
    number: entry.number,
    deleted_at: null,
    accepted_at: entry.at,
    sender_user: entry.sender_user,
    sender_display_name: entry.sender_display_name,
    sender_avatar: entry.sender_avatar,
  };
  return { outcome: "accepted", message, entry };
}

/** Parameters of ACCEPT that never change; `allowed`: which roles may send which kind of content, as `<kind> <role>`. */
const ACCEPT_BINDINGS = {
  allowed: kindsAndRoles(),
  ...OFFERED_BINDINGS,
};

/** Messages of one room that may wait for Matrix. A batch that is accepted together may pass it. */
const ROOM_LIMIT = 100_000;
const hasPlace = (outbox: string, mirror: string) =>
  `${outbox}.accepted_count - coalesce(${mirror}.closed_count, 0) < ${String(ROOM_LIMIT)}`;

function kindsAndRoles(): string[] {
  return Object.entries(CONTENT).flatMap(([kind, { permission }]) =>
    rolesAllowed(permission).map((role) => `${kind} ${role}`),
  );
}

const INPUT = `jsonb_to_recordset(cast(:input as jsonb)) as i(position int, id uuid, tenant_id uuid, external_id text, signed_at_ms bigint,
  generation uuid, kind text, slug text, client_id text, request_hash text, request_id text, content jsonb)`;

const HOLDS_TOKEN = holdsToken({ issuedAtMs: "i.signed_at_ms", generation: "i.generation" });

// Both rows of one room before the rows of the next: whoever locks outboxes first waits at the first of them.
const LOCK_ROOMS = `
  select o.tenant_id as "tenantId", o.room_id as "roomId", o.next_attempt_at is null as "isIdle"
    from room_outbox o join room_timeline t on t.room_id = o.room_id
   where o.room_id in (select r.id from ${INPUT}
     join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null)
   order by o.room_id for update of o, t`;

// The messages that may be accepted. Of two with the same client id in one batch, the first.
const ALLOWED_MESSAGES = `
  select distinct on (u.id, coalesce(i.client_id, i.id::text))
         i.position, i.id, i.tenant_id, i.client_id, i.request_hash, i.request_id, i.content, r.id as room_id, u.id as sender_id, o.last_order
    from ${INPUT}
    join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
    join room_outbox o on o.room_id = r.id
    left join room_mirrors w on w.room_id = r.id
    join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
    join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and (i.content ->> 'kind') || ' ' || s.role = any(:allowed)
   where u.status <> 'locked' and ${HOLDS_TOKEN} and ${hasPlace("o", "w")} and (i.client_id is null
      or not exists (select 1 from messages x where x.sender_id = u.id and x.client_id = i.client_id))
   order by u.id, coalesce(i.client_id, i.id::text), i.position`;

// Another transaction may insert the same client id in another room at this moment: its message is left out here. Only what
// is inserted gets a number.
const INSERTED_MESSAGES = `
  insert into messages (id, tenant_id, room_id, sender_id, client_id, request_hash, request_id, content, order_number, numbered)
  select id, tenant_id, room_id, sender_id, client_id, decode(request_hash, 'hex'), request_id, content,
         last_order + row_number() over (partition by room_id order by position), true
    from allowed order by sender_id, client_id
      on conflict (sender_id, client_id) where client_id is not null do nothing
  returning id, tenant_id, room_id, sender_id, client_id, request_id, content, order_number, status, accepted_at`;

// A statement of its own: it sees what was committed while the locks were waited for. It does not join its own inserted
// rows by more than the rooms: no plan knows how many there are.
const OLDER = markOlder("select distinct room_id from allowed");

const ACCEPT = `
  with allowed as (${ALLOWED_MESSAGES}), fresh as (${INSERTED_MESSAGES}), older as (${OLDER}),
  placed as (select * from older union all select * from fresh),
  outbox as (
    update room_outbox o
       set last_order = greatest(o.last_order, c.last_order), accepted_count = o.accepted_count + c.added,
           next_attempt_at = coalesce(o.next_attempt_at, now())
      from (select room_id, max(order_number) as last_order, count(*) as added from placed group by room_id) c
     where o.room_id = c.room_id
  ), ${appendingCtes(OFFERED_MESSAGES)},
  read as (
    update memberships p set read_count = b.message_count
      from (select distinct room_id, sender_id from fresh) w join bumped b on b.room_id = w.room_id
     where p.room_id = w.room_id and p.user_id = w.sender_id
  )
  select e.room_id, e.number, e.entry_id, e.type, e.client_id, e.content, e.at, e.sender_id, e.sender_name, e.relates_to,
         e.redacted_at, u.external_id as sender_user, u.display_name as sender_display_name, u.avatar as sender_avatar, r.kind, r.slug,
         p.status, cast(null as text) as error_code, cast(null as text) as error_message, p.request_id, p.order_number,
         b.tenant_id, b.epoch, b.last_number
    from placed p join entries e on e.entry_id = p.id join bumped b on b.room_id = e.room_id
    join rooms r on r.id = e.room_id join users u on u.id = e.sender_id
   order by e.room_id, e.number`;

type AcceptedRow = AppendedRow & {
  sender_id: string;
  sender_user: string;
  status: MessageStatus;
  order_number: number;
};

type RefusedRow = Omit<MessageRow, "id"> & {
  position: number;
  id: string | null;
  is_held: boolean;
  has_place: boolean;
  found_room: string | null;
  member_role: string | null;
};

function explainRefusals(db: Db, rows: readonly unknown[]): Promise<RefusedRow[]> {
  return rowsOf<RefusedRow>(
    db,
    `select i.position, u.id is null or ${HOLDS_TOKEN} as is_held, ${hasPlace("o", "w")} as has_place, r.id as found_room, s.role as member_role, m.*
       from ${INPUT}
       left join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
       left join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
       left join room_outbox o on o.room_id = r.id
       left join room_mirrors w on w.room_id = r.id
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
       left join (${SELECT_MESSAGE}) m on m.sender_id = u.id and m.client_id = i.client_id`,
    { input: JSON.stringify(rows) },
  );
}

function explain(refusal: RefusedRow | undefined): Acceptance {
  if (refusal?.is_held === false) return { outcome: "token_not_held" };
  if (refusal?.id) return { outcome: "replayed", message: { ...refusal, id: refusal.id } };
  if (refusal?.has_place === false) return { outcome: "room_full" };
  if (refusal?.found_room && refusal.member_role) return { outcome: "may_not_post" };
  return { outcome: "no_such_room" };
}
