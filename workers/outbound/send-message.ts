import { parseContent } from "../../shared/contract/content/index.ts";
import type { ClaimedMessage } from "../../shared/db/messages/outbox.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { toMatrix } from "../matrix/content/index.ts";
import { sendEvent } from "../matrix/rooms/events.ts";
import { isRefusal, type SendStep } from "./retry.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { applyPowerLevels } from "../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted } from "../reconcile/ensure-joined.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";

/** A Matrix call that did not succeed, and what the message needed it for. */
export class SendFailed extends Error {
  override readonly name = "SendFailed";
  readonly step: SendStep;
  readonly failure: MatrixFailure;

  constructor(step: SendStep, failure: MatrixFailure) {
    super(failure.message, { cause: failure });
    this.step = step;
    this.failure = failure;
  }
}

/**
 * Sends one message, after it has ensured what the message needs on Matrix: the room, the sender's account, the join.
 * Returns the event's id.
 * @throws SendFailed, LeaseLost; NotWanted when the sender was removed, and the message was never claimed before or
 *   the sender is not joined.
 */
export async function sendMessage(
  context: WorkerContext,
  room: RoomSnapshot,
  message: ClaimedMessage,
  lease: RoomLease,
): Promise<string> {
  // A message that a crashed drain had claimed may be sent already. Sending it again with its transaction id settles that.
  if (!message.was_sending && !message.sender_is_wanted) throw new NotWanted("the sender was removed");
  const homeserver = await during("room", () => context.homeserver(room.homeserver_id));
  // Recorded in the snapshot, for the other messages of the batch.
  if (room.matrix_room_id === null || room.observer_is_out || room.successor_matrix_room_id !== null) {
    const former = room.matrix_room_id;
    room.matrix_room_id = await during("room", () => ensureRoom(context, homeserver, room, lease));
    if (former !== null && room.matrix_room_id !== former) message = { ...message, sender_is_joined: false };
    room.observer_is_out = false;
    room.successor_matrix_room_id = null;
  }
  const existing = { ...room, matrix_room_id: room.matrix_room_id };
  if (!message.sender_is_registered || !message.sender_is_joined) {
    await during("sender", () => prepareSender(context, homeserver, existing, message, lease));
  }
  const event = toMatrix(parseContent(message.content), { targetEventId: null });
  const send = async () => {
    lease.check();
    const sender = await during("sender", () => homeserver.as(message.sender_matrix_id));
    const target = { matrixRoomId: existing.matrix_room_id, id: message.id, event };
    return during("send", () => sendEvent(sender, target));
  };
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof SendFailed && isRefusal({ kind: error.failure.kind, step: error.step })))
      throw error;
  }
  // Refused: the join, the level or, after a restore, the account is not on Matrix though our tables say so. Ensure them
  // and send once more.
  const unsure = { ...message, sender_is_registered: false };
  await during("sender", () => prepareSender(context, homeserver, existing, unsure, lease));
  await during("room", () => applyPowerLevels(context, homeserver, existing, lease));
  return send();
}

/** @throws SendFailed instead of a MatrixFailure. */
async function during<T>(step: SendStep, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof MatrixFailure ? new SendFailed(step, error) : error;
  }
}

async function prepareSender(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  message: ClaimedMessage,
  lease: RoomLease,
): Promise<void> {
  if (!message.sender_is_wanted) throw new NotWanted("the sender was removed");
  const sender = { userId: message.sender_id, matrixUserId: message.sender_matrix_id };
  lease.check();
  if (!message.sender_is_registered) {
    await ensureAccount(context, homeserver, { id: message.sender_id, tenantId: room.tenant_id, ...sender });
  }
  await ensureJoined(context, homeserver, room, sender, lease);
}
