import { parseContent } from "../../shared/contract/content/index.ts";
import type { ClaimedMessage } from "../../shared/db/messages/outbox.ts";
import type { WorkerContext } from "../runtime/context.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { toMatrix } from "../matrix/content/index.ts";
import { sendEvent } from "../matrix/rooms/events.ts";
import type { SendStep } from "./retry.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import { applyPowerLevels } from "../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted, requireMember } from "../reconcile/ensure-joined.ts";
import { ensureRoom } from "../reconcile/ensure-room.ts";
import { isObserverIn, isRefused, recordObserverOut } from "../reconcile/observer/presence.ts";
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

/** @throws SendFailed instead of a MatrixFailure. */
async function during<T>(step: SendStep, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof MatrixFailure ? new SendFailed(step, error) : error;
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
  await during("room", () => prepareRoom(context, homeserver, room, lease));
  const send = () => prepareAndSend(context, homeserver, room, message, lease);
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof SendFailed && isRefused(error.failure))) throw error;
    const isRoomMended = await during("room", () => mendRoom(context, homeserver, room, lease));
    if (!isRoomMended && error.failure.kind !== "forbidden") throw error;
    await mendSender(context, homeserver, requireExisting(room), message, lease);
    message = { ...message, sender_is_registered: true, sender_is_joined: true };
  }
  return send();
}

const ROOM_REPLACED = "the room has a new Matrix room";

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

function requireExisting(room: RoomSnapshot): MatrixRoom {
  if (room.matrix_room_id === null) throw new Error("the room is not on Matrix");
  return { ...room, matrix_room_id: room.matrix_room_id };
}

/**
 * Ensures that the room is on Matrix with its observer, and records in the snapshot, for the other messages of the batch,
 * what it is there.
 * @throws MatrixFailure while the observer cannot come back, and when the Matrix room was replaced.
 */
async function prepareRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<void> {
  const { matrix_room_id: former, observer_is_out: isOut, successor_matrix_room_id: successor } = room;
  if (former !== null && !isOut && successor === null) return;
  room.matrix_room_id = await ensureRoom(context, homeserver, room, lease);
  const isMoved = former !== null && room.matrix_room_id !== former;
  // Messages before this one may be queued again, which the former Matrix room had and no observer had read there.
  if (isMoved) throw new MatrixFailure("transient", { errcode: ROOM_REPLACED, httpStatus: null });
  room.observer_is_out = false;
  room.successor_matrix_room_id = null;
}

/** Brings the observer back, or the room, when a call was refused because the observer is out. Returns whether it was out. */
async function mendRoom(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  lease: RoomLease,
): Promise<boolean> {
  const existing = requireExisting(room);
  if (await isObserverIn(homeserver, existing)) return false;
  await recordObserverOut(context, existing);
  room.observer_is_out = true;
  await prepareRoom(context, homeserver, room, lease);
  return true;
}

/**
 * The join, the level or, after a restore, the account is not on Matrix though our tables say so: ensures them.
 * @throws NotWanted when somebody who may has taken the sender out of the room there
 */
async function mendSender(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  message: ClaimedMessage,
  lease: RoomLease,
): Promise<void> {
  if (!message.sender_is_wanted) throw new NotWanted("the sender was removed");
  const sender = { userId: message.sender_id, matrixUserId: message.sender_matrix_id };
  const unsure = { ...message, sender_is_registered: false };
  await during("sender", () => requireMember(context, homeserver, room, sender, lease));
  await during("sender", () => prepareSender(context, homeserver, room, unsure, lease));
  await during("room", () => applyPowerLevels(context, homeserver, room, lease));
}

/** Sends a message once, after it has ensured what the sender needs on Matrix. Returns the event's id. */
async function prepareAndSend(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot,
  message: ClaimedMessage,
  lease: RoomLease,
): Promise<string> {
  const existing = requireExisting(room);
  if (!message.sender_is_registered || !message.sender_is_joined) {
    await during("sender", () => prepareSender(context, homeserver, existing, message, lease));
  }
  const event = toMatrix(parseContent(message.content), { targetEventId: null });
  lease.check();
  const sender = await during("sender", () => homeserver.as(message.sender_matrix_id));
  const target = {
    matrixRoomId: existing.matrix_room_id,
    id: message.id,
    event,
    atMs: homeserver.keepsTime ? message.accepted_at_ms : null,
  };
  return during("send", () => sendEvent(sender, target));
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
