import { SURVIVING_ACTS } from "../../../contract/content/acts.ts";
import { removeRefusedEdit } from "../../acts/refused-edit.ts";
import { execute, rowsOf, type Db } from "../../connection/open.ts";
import { countClosed } from "../../rooms/room-mirrors.ts";
import type { TenantLimits } from "../../tenants/tenants.ts";
import { appendUnderLease } from "../../timeline/append-under-lease.ts";
import { SELECT_APPENDED, type AppendedRow } from "../../timeline/append.ts";
import { deleteMessages } from "../delete-messages.ts";
import { appendStatus, STATUS_BINDINGS } from "../status-entries.ts";

/**
 * A dead message is never sent; it stays in its timeline, marked. An entry `message.failed` says so, of which clients that
 * were away learn. The same holds of acts on messages. This file holds every statement that marks them dead, but for the
 * deletion of a message, which ends what was never tried (`shared/db/acts/deletion.ts`):
 * - `markDead`: the drain of a room, when `workers/outbound/retry.ts` decides so or the sender is no member any more. What Matrix
 *   has refused for good is also hidden here where the tenant wants so: see `hidesRefused`. Acts on the message die with it.
 * - `markDeadOfRemovedSender`: the transaction that removes a member or a user. What the observer carries out then stays.
 * - `markDeadOfDeletedRooms`: the api, when it deletes a room, or a user with direct rooms. Without entries: the rooms are gone.
 *
 * A dead message becomes `sent` only when its event comes from Matrix after all: it was sent, and the answer was lost.
 */
export const DEAD_REASONS = {
  deleted: "The message was deleted before it was sent.",
  expired: "The message could not be sent for too long.",
  forbidden: "The chat server does not let the sender write to this room.",
  refused: "The chat server does not accept this message.",
  room_deleted: "The room was deleted before the message was sent.",
  room_gone: "The room does not exist on the chat server any more.",
  sender_removed: "The sender was removed from the room before the message was sent.",
  target_dead: "The chat server does not have the message that this is about.",
  target_deleted: "The message was deleted before this was sent.",
  unanswered: "The chat server gave no answer to this message for too long.",
} as const;

/** Why a message is dead: the `code` of its error. */
export type DeadCode = keyof typeof DEAD_REASONS;

/** Whether a tenant's messages and edits that are dead for this reason are hidden here too: deleted, or taken back. */
export function hidesRefused(code: DeadCode, onRefused: TenantLimits["onRefused"]): boolean {
  return onRefused === "hide" && (code === "refused" || code === "forbidden");
}

const surviving = [...SURVIVING_ACTS];

/** Marks those messages dead that `which` selects; bind `causeOf`. */
const markDeadWhere = (which: string) => `
  update messages set status = 'dead', open = false, error_code = :code, error_message = :reason where ${which}`;

function causeOf(code: DeadCode): { code: DeadCode; reason: string } {
  return { code, reason: DEAD_REASONS[code] };
}

/** Marks, counts, and appends an entry for each. The timelines are locked. Returns AppendedRow. */
const markAndAppend = (which: string) => `
  with dead as (
    ${markDeadWhere(which)} returning id, tenant_id, room_id, order_number, target_id, content ->> 'kind' as kind
  ), closed as (${countClosed("dead")}),
  ${appendStatus(
    "message.failed",
    "dead",
    `jsonb_build_object('error', jsonb_build_object('code', cast(:code as text), 'message', cast(:reason as text)))`,
  )}
  ${SELECT_APPENDED}`;

const MARK_ONE = markAndAppend("id = :id and room_id = :roomId and open");

/** The acts on a message that is dead by now, without those that have nothing to do then. */
const MARK_ITS_ACTS = markAndAppend(`id in (
     select m.id from messages m join messages t on t.id = m.target_id and t.status = 'dead'
      where m.target_id = :id and m.room_id = :roomId and m.open and m.status <> 'sent' and not m.content ->> 'kind' = any(:surviving)
      order by m.id for update of m)`);

/**
 * Marks one message dead under its room's lease, and the acts on it that wait. `hides`: it is deleted here too, an edit is taken
 * back; other acts stay as they are. Returns the entries, to be published: none when the message is not open any more, since an observer has seen it. Null when the lease has
 * ended: then nothing is changed.
 */
export function markDead(
  db: Db,
  roomId: string,
  fence: string,
  { id, code, hides = false }: { id: string; code: DeadCode; hides?: boolean },
): Promise<AppendedRow[] | null> {
  const cause = causeOf(code);
  return appendUnderLease(db, roomId, fence, [
    { sql: MARK_ONE, bindings: { roomId, id, ...cause, ...STATUS_BINDINGS } },
    {
      sql: MARK_ITS_ACTS,
      bindings: { roomId, id, surviving, ...causeOf("target_dead"), ...STATUS_BINDINGS },
    },
    ...(hides
      ? [deleteMessages([id], cause.reason, { onlyDead: true }), ...removeRefusedEdit(roomId, id)]
      : []),
  ]);
}

const MARK_OF_SENDER = markAndAppend(`id in (
     select m.id from unnest(cast(:roomIds as uuid[]), cast(:senderIds as uuid[])) as asked(room_id, sender_id)
       join messages m using (room_id, sender_id)
      where m.tenant_id = :tenantId and m.open and m.status = 'queued'
        and not coalesce(m.content ->> 'kind' = any(:surviving), false)
      order by m.id for update of m)`);

/**
 * Marks the queued messages of users dead, in the transaction that removes them from these rooms, whose timelines are
 * locked. One statement for all rooms, since they are locked meanwhile. Returns the entries.
 */
export function markDeadOfRemovedSender(
  trx: Db,
  tenantId: string,
  { senderIds, roomIds }: { senderIds: readonly string[]; roomIds: readonly string[] },
): Promise<AppendedRow[]> {
  const removed = roomIds.flatMap((roomId) => senderIds.map((userId) => ({ roomId, userId })));
  return markDeadOfRemoved(trx, tenantId, removed);
}

/** The same for users who are removed from different rooms. */
export function markDeadOfRemoved(
  trx: Db,
  tenantId: string,
  removed: readonly { roomId: string; userId: string }[],
): Promise<AppendedRow[]> {
  return rowsOf<AppendedRow>(trx, MARK_OF_SENDER, {
    tenantId,
    roomIds: removed.map(({ roomId }) => roomId),
    senderIds: removed.map(({ userId }) => userId),
    surviving,
    ...causeOf("sender_removed"),
    ...STATUS_BINDINGS,
  });
}

const MARK_OF_ROOMS = `
  with dead as (${markDeadWhere("tenant_id = :tenantId and room_id = any(:roomIds) and open and status <> 'sent'")}
  returning tenant_id, room_id) ${countClosed("dead")}`;

// Only what is sent: a message that another transaction accepted or requeued since the statement above must stay open, so
// that its drain marks it dead.
const CLOSE_SENT = `
  with sent as (
    update messages set open = false where tenant_id = :tenantId and room_id = any(:roomIds) and open and status = 'sent'
    returning tenant_id, room_id) ${countClosed("sent")}`;

/**
 * Marks the unsent messages of rooms dead, in the transaction that deletes the rooms. What is sent stays so, and is not
 * open any more: the observer does not read it.
 */
export async function markDeadOfDeletedRooms(
  trx: Db,
  tenantId: string,
  roomIds: readonly string[],
): Promise<void> {
  await execute(trx, MARK_OF_ROOMS, { tenantId, roomIds, ...causeOf("room_deleted") });
  await execute(trx, CLOSE_SENT, { tenantId, roomIds });
}
