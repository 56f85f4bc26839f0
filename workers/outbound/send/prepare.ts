import type { ClaimedMessage } from "../../../shared/db/messages/outbox.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import { applyPowerLevels } from "../../reconcile/apply-power-levels.ts";
import { ensureAccount } from "../../reconcile/ensure-account.ts";
import { ensureJoined, NotWanted, requireMember } from "../../reconcile/ensure-joined.ts";
import { ensureRoom } from "../../reconcile/ensure-room.ts";
import { isObserverIn, recordObserverOut } from "../../reconcile/observer/presence.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { during } from "./send-failed.ts";

/*
 * What a message needs on Matrix before it is sent: the room with its observer, the sender's account and join; and how that is
 * repaired when a call was refused though our tables say that all is there.
 */

/** What a message is sent with. */
export type Sending = {
  context: WorkerContext;
  homeserver: Homeserver;
  room: RoomSnapshot;
  lease: RoomLease;
};

export type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

export function requireExisting(room: RoomSnapshot): MatrixRoom {
  if (room.matrix_room_id === null) throw new Error("the room is not on Matrix");
  return { ...room, matrix_room_id: room.matrix_room_id };
}

/** A message that a user sends. */
export type MessageOfUser = ClaimedMessage & { sender_id: string; sender_matrix_id: string };

export function requireSender(message: ClaimedMessage): MessageOfUser {
  const { sender_id: senderId, sender_matrix_id: matrixId } = message;
  if (senderId === null || matrixId === null) throw new Error("the message has no sender");
  return { ...message, sender_id: senderId, sender_matrix_id: matrixId };
}

const ROOM_REPLACED = "the room has a new Matrix room";

/**
 * Ensures that the room is on Matrix with its observer, and records in the snapshot, for the other messages of the batch,
 * what it is there.
 * @throws MatrixFailure while the observer cannot come back, and when the Matrix room was replaced.
 */
export async function prepareRoom({ context, homeserver, room, lease }: Sending): Promise<void> {
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
export async function mendRoom(sending: Sending): Promise<boolean> {
  const { context, homeserver, room } = sending;
  const existing = requireExisting(room);
  if (await isObserverIn(homeserver, existing)) return false;
  await recordObserverOut(context, existing);
  room.observer_is_out = true;
  await prepareRoom(sending);
  return true;
}

/** The levels are not on Matrix as our tables say: ensures them. */
export async function mendLevels({ context, homeserver, room, lease }: Sending): Promise<void> {
  await during("room", () => applyPowerLevels(context, homeserver, requireExisting(room), lease));
}

/**
 * The join, the level or, after a restore, the account is not on Matrix though our tables say so: ensures them.
 * @throws NotWanted when somebody who may has taken the sender out of the room there
 */
export async function mendSender(sending: Sending, message: MessageOfUser): Promise<void> {
  if (!message.sender_is_wanted) throw new NotWanted("the sender was removed");
  const { context, homeserver, lease } = sending;
  const room = requireExisting(sending.room);
  const sender = { userId: message.sender_id, matrixUserId: message.sender_matrix_id };
  const unsure = { ...message, sender_is_registered: false };
  await during("sender", () => requireMember(context, homeserver, room, sender, lease));
  await during("sender", () => prepareSender(sending, unsure));
  await mendLevels(sending);
}

/** @throws NotWanted, MatrixFailure */
export async function prepareSender(
  { context, homeserver, room, lease }: Sending,
  message: MessageOfUser,
): Promise<void> {
  if (!message.sender_is_wanted) throw new NotWanted("the sender was removed");
  const sender = { userId: message.sender_id, matrixUserId: message.sender_matrix_id };
  lease.check();
  if (!message.sender_is_registered) {
    await ensureAccount(context, homeserver, { id: message.sender_id, tenantId: room.tenant_id, ...sender });
  }
  await ensureJoined(context, homeserver, requireExisting(room), sender, lease);
}
