import { CONTENT, type Content } from "../../contract/content/index.ts";
import type { RoomAddress } from "../../contract/names.ts";
import { rolesAllowed } from "../../contract/permissions.ts";
import { newId } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { TokenStamp } from "../../auth/token-claims.ts";
import { holdsToken } from "../users/user-tokens.ts";
import { transactPipelined } from "../connection/pipelined-transaction.ts";
import type { TimelinePosition } from "../timeline/pages.ts";
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
 * `replayed`: the sender has used the client id before; the row is the first request's. `position`: the timeline's
 * position, which includes every removal of a member before the message. `token_not_held`: the existing user of the
 * sender's name does not hold the token.
 */
export type Acceptance =
  | { outcome: "accepted"; message: MessageRow; position: TimelinePosition }
  | { outcome: "replayed"; message: MessageRow }
  | { outcome: "token_not_held" | "no_such_room" | "may_not_post" };

export type Accepted = Extract<Acceptance, { outcome: "accepted" }>;

/** A drain locks a room for some milliseconds. A longer lock is not waited for, since the other rooms are locked meanwhile. */
const LOCK_WAIT_MS = 250;

/** A room without messages that wait. */
export type IdleRoom = { tenantId: string; roomId: string };

/**
 * Accepts messages in one transaction, in the given order: each gets its room's next order number. The rooms' outbox rows
 * are locked first, in id order, so that a member's removal comes either before the message (which is refused) or after
 * it (and marks it dead). Returns the outcomes in the given order.
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
  const [, accepted] = await transactPipelined<[Locked[], Inserted[]]>(
    db,
    [
      { sql: LOCK_ROOMS, bindings: { input } },
      { sql: INSERT_ALLOWED, bindings: { input, allowed: ALLOWED } },
    ],
    {
      onFirst: (rooms) => {
        onLocked(rooms.filter(({ isIdle }) => isIdle));
      },
      lockWaitMs: LOCK_WAIT_MS,
    },
  );
  const byId = new Map(accepted.map((row) => [row.id, row]));
  const isComplete = byId.size === messages.length;
  const explained = isComplete
    ? []
    : await explainRefusals(
        db,
        rows.filter((row) => !byId.has(row.id)),
      );
  const refusals = new Map(explained.map((row) => [row.position, row]));
  return rows.map(({ position, external_id: senderUser, signed_at_ms: _at, generation: _of, ...asked }) => {
    const inserted = byId.get(asked.id);
    if (!inserted) return explain(refusals.get(position));
    const { epoch, last_number: lastNumber, ...made } = inserted;
    const fresh = { error_code: null, error_message: null, timeline_number: null, sender_user: senderUser };
    return {
      outcome: "accepted",
      message: { ...asked, ...fresh, ...made },
      position: { epoch, lastNumber },
    };
  });
}

/** Which roles may send which kind of content, as `<kind> <role>`: a parameter, computed once. */
const ALLOWED = kindsAndRoles();

function kindsAndRoles(): string[] {
  return Object.entries(CONTENT).flatMap(([kind, { permission }]) =>
    rolesAllowed(permission).map((role) => `${kind} ${role}`),
  );
}

const INPUT = `jsonb_to_recordset(cast(:input as jsonb)) as i(position int, id uuid, tenant_id uuid, external_id text, signed_at_ms bigint,
  generation uuid, kind text, slug text, client_id text, request_hash text, request_id text, content jsonb)`;

const HOLDS_TOKEN = holdsToken({ issuedAtMs: "i.signed_at_ms", generation: "i.generation" });

const LOCK_ROOMS = `
  select o.tenant_id as "tenantId", o.room_id as "roomId", o.next_attempt_at is null as "isIdle" from room_outbox o
   where o.room_id in (select r.id from ${INPUT}
     join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null)
   order by o.room_id for update`;

// A statement of its own: it sees what was committed while the locks were waited for, the rooms' last orders too. It does
// not join its own inserted rows: no plan knows how many there are.
const INSERT_ALLOWED = `
  with allowed as (
    select i.position, i.id, i.tenant_id, i.client_id, i.request_hash, i.request_id, i.content, r.id as room_id,
           u.id as sender_id, o.last_order + row_number() over (partition by r.id order by i.position) as order_number
      from ${INPUT}
      join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
      join room_outbox o on o.room_id = r.id
      join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
      join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and (i.content ->> 'kind') || ' ' || s.role = any(:allowed)
     where u.status <> 'locked' and ${HOLDS_TOKEN} and (i.client_id is null
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

type Inserted = Pick<
  MessageRow,
  | "id"
  | "room_id"
  | "sender_id"
  | "order_number"
  | "status"
  | "accepted_at"
  | "sender_display_name"
  | "sender_avatar"
> & { epoch: string; last_number: number };

type Refusal = Omit<MessageRow, "id"> & {
  position: number;
  id: string | null;
  is_held: boolean;
  found_room: string | null;
  member_role: string | null;
};

function explainRefusals(db: Db, rows: readonly unknown[]): Promise<Refusal[]> {
  return rowsOf<Refusal>(
    db,
    `select i.position, u.id is null or ${HOLDS_TOKEN} as is_held, r.id as found_room, s.role as member_role, m.*
       from ${INPUT}
       left join users u on u.tenant_id = i.tenant_id and u.external_id = i.external_id and u.deleted_at is null
       left join rooms r on r.tenant_id = i.tenant_id and r.kind = i.kind and r.slug = i.slug and r.deleted_at is null
       left join memberships s on s.room_id = r.id and s.user_id = u.id and s.desired = 'in'
       left join (${SELECT_MESSAGE}) m on m.sender_id = u.id and m.client_id = i.client_id`,
    { input: JSON.stringify(rows) },
  );
}

function explain(refusal: Refusal | undefined): Acceptance {
  if (refusal?.is_held === false) return { outcome: "token_not_held" };
  if (refusal?.id) return { outcome: "replayed", message: { ...refusal, id: refusal.id } };
  if (refusal?.found_room && refusal.member_role) return { outcome: "may_not_post" };
  return { outcome: "no_such_room" };
}
