import { CONTENT, UNREAD_ENTRY_TYPES, type Content } from "../../../contract/content/index.ts";
import type { RoomAddress } from "../../../contract/names.ts";
import { newId } from "../../../platform/ids.ts";
import { readActed, type ActedRow } from "../../acts/accept-acts.ts";
import { isLockTimeout } from "../../connection/failures.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import { transactPipelined } from "../../connection/pipelined-transaction.ts";
import { noteMentions } from "../../memberships/mentions/mentions.ts";
import { LOCKED_ROOMS, lockRooms } from "../../rooms/lock-rooms.ts";
import { JOIN_COUNTERS, WAITING_COUNT } from "../../rooms/room-mirrors.ts";
import { appendingCtes } from "../../timeline/append.ts";
import { SELECT_MESSAGE, type MessageRow } from "../messages.ts";

/** A message of the product itself. Its client id is unique among those of the tenant's product. */
export type NewProductMessage = {
  tenantId: string;
  room: RoomAddress;
  content: Content;
  clientId: string | null;
  requestHash: string | null;
  requestId: string;
  /** How many messages of the room may wait for Matrix. */
  roomLimit: number;
};

/** `accepted`: with its entry, which is to be published. `replayed`: the client id was used before, for this message. */
export type ProductAcceptance =
  | { outcome: "accepted"; message: MessageRow; entry: ActedRow; isIdle: boolean }
  | { outcome: "replayed"; message: MessageRow }
  | { outcome: "no_such_room" | "room_full" | "room_locked" };

const LOCK_WAIT_MS = 2_000;
const LOCK = lockRooms(
  "jsonb_to_recordset(cast(:input as jsonb)) as i(tenant_id uuid, kind text, slug text)",
  "",
);

// The observer sends it: nobody's rights are asked. `sender_ref` says that it is the tenant's.
const ACCEPT = `
  with place as (
    select r.id as room_id, o.last_order from rooms r join room_outbox o on o.room_id = r.id ${JOIN_COUNTERS}
     where r.tenant_id = :tenantId and r.kind = :kind and r.slug = :slug and r.deleted_at is null and not r.adopting and r.id = any(${LOCKED_ROOMS})
       and ${WAITING_COUNT} < :roomLimit
       and (cast(:clientId as text) is null or not exists (
             select 1 from messages x where x.tenant_id = :tenantId and x.sender_id is null and x.client_id = :clientId))
  ), fresh as (
    insert into messages (id, tenant_id, room_id, sender_id, client_id, request_hash, request_id, content, order_number, acts_as, numbered)
    select :id, :tenantId, room_id, null, :clientId, decode(:requestHash, 'hex'), :requestId, cast(:content as jsonb), last_order + 1, 'observer', true
      from place
        on conflict (tenant_id, client_id) where sender_id is null and client_id is not null do nothing
    returning id, tenant_id, room_id, client_id, content, order_number, accepted_at
  ), outbox as (
    update room_outbox o
       set last_order = f.order_number, accepted_count = o.accepted_count + 1, next_attempt_at = coalesce(o.next_attempt_at, now())
      from fresh f where o.room_id = f.room_id
  ), ${appendingCtes(`
    select room_id, 1 as position, id as entry_id, cast(null as text) as event_id, cast(:type as text) as type, cast(null as uuid) as sender_id,
           cast(null as text) as sender_name, tenant_id as sender_ref, client_id, cast(null as uuid) as relates_to, content, accepted_at as at,
           false as scrubs, 1 as place, 1 as message_place
      from fresh`)}
  select id from fresh`;

const FIND_BY_CLIENT_ID = `${SELECT_MESSAGE} where m.tenant_id = :tenantId and m.sender_id is null and m.client_id = :clientId`;

/** The message that the product sent under a client id; or null. */
export async function findProductMessage(
  db: Db,
  tenantId: string,
  clientId: string,
): Promise<MessageRow | null> {
  return (await rowsOf<MessageRow>(db, FIND_BY_CLIENT_ID, { tenantId, clientId }))[0] ?? null;
}

/**
 * Accepts a message of the product: it gets its number, as those of people do. It has a transaction of its own, which waits for
 * the room's lock for 2 s at most.
 */
export async function acceptProduct(db: Db, given: NewProductMessage): Promise<ProductAcceptance> {
  try {
    return await accept(db, given);
  } catch (error) {
    if (isLockTimeout(error)) return { outcome: "room_locked" };
    throw error;
  }
}

async function accept(db: Db, { room, content, ...given }: NewProductMessage): Promise<ProductAcceptance> {
  const { tenantId, clientId } = given;
  const id = newId();
  const bindings = {
    ...{ ...given, ...room, id, content: JSON.stringify(content) },
    ...{ type: CONTENT[content.kind].entry, unread: [...UNREAD_ENTRY_TYPES] },
  };
  const [locked, fresh, , entries] = await transactPipelined<
    [{ isIdle: boolean }[], unknown[], unknown[], ActedRow[]]
  >(
    db,
    [
      { sql: LOCK, bindings: { input: JSON.stringify([{ tenant_id: tenantId, ...room }]) } },
      { sql: ACCEPT, bindings },
      noteMentions([id]),
      readActed([{ id }]),
    ],
    { lockWaitMs: LOCK_WAIT_MS },
  );
  const [entry] = entries;
  if (entry) {
    const [message] = await rowsOf<MessageRow>(db, `${SELECT_MESSAGE} where m.id = ?`, [id]);
    if (!message) throw new Error("an accepted message is gone");
    return { outcome: "accepted", message, entry, isIdle: locked[0]?.isIdle ?? false };
  }
  if (fresh.length > 0) throw new Error("an accepted message has no entry");
  if (locked.length === 0) return { outcome: "no_such_room" };
  const earlier = clientId === null ? null : await findProductMessage(db, tenantId, clientId);
  return earlier ? { outcome: "replayed", message: earlier } : { outcome: "room_full" };
}
