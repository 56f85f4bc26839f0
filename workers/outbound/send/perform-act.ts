import type { ClaimedMessage } from "../../../shared/db/messages/outbox.ts";
import { furtherTransactionId } from "../../../shared/platform/ids.ts";
import type { ActCall } from "../../matrix/acts/define.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { MatrixFailure, unlessConflict } from "../../matrix/http/failure.ts";
import { lookUpEvent, redact, sendEvent } from "../../matrix/rooms/events.ts";
import { putState } from "../../matrix/rooms/state.ts";
import { NotSendable } from "./not-sendable.ts";
import type { PlannedAct } from "./targets.ts";
import { requireExisting, type Sending } from "./prepare.ts";

/**
 * Carries an act out, as the account of `request`. Returns the id of its event; null when there is none, and none will be seen.
 * @throws MatrixFailure, NotSendable, LeaseLost
 */
export async function performAct(
  sending: Sending,
  request: Requester,
  message: ClaimedMessage,
  { calls, targetEventId }: PlannedAct,
): Promise<string | null> {
  const [first, ...further] = calls;
  if (first === undefined) return null;
  // The event with the marker comes last: when an observer reads it, all is done, and the act is not tried again.
  for (const call of further) {
    if ("redact" in call) await redactFurther(sending, request, message.id, call);
    if ("putState" in call) await put(sending, request, call);
  }
  return performMarked(sending, request, message, first, targetEventId);
}

async function performMarked(
  sending: Sending,
  request: Requester,
  { id, accepted_at_ms: acceptedAtMs }: ClaimedMessage,
  call: ActCall,
  targetEventId: string | null,
): Promise<string | null> {
  const { homeserver, lease } = sending;
  const { matrix_room_id: matrixRoomId } = requireExisting(sending.room);
  lease.check();
  if ("redact" in call) {
    const { redact: eventId, reason } = call;
    return unlessElsewhere(request, { matrixRoomId, eventId }, () =>
      redact(request, { matrixRoomId, eventId, transactionId: id, reason, marker: id }),
    );
  }
  if ("putState" in call) {
    await put(sending, request, call);
    return null;
  }
  const atMs = homeserver.keepsTime ? acceptedAtMs : null;
  // The person has the reaction already, by another event.
  const send = () => unlessConflict(sendEvent(request, { matrixRoomId, id, event: call.send, atMs }));
  return requireThere(request, { matrixRoomId, eventId: targetEventId }, send);
}

async function put(
  { room, lease }: Sending,
  request: Requester,
  { putState: type, content }: Extract<ActCall, { putState: string }>,
): Promise<void> {
  lease.check();
  await putState(request, { matrixRoomId: requireExisting(room).matrix_room_id, type, content });
}

async function redactFurther(
  { room, lease }: Sending,
  request: Requester,
  actId: string,
  { redact: eventId, reason }: Extract<ActCall, { redact: string }>,
): Promise<void> {
  const { matrix_room_id: matrixRoomId } = requireExisting(room);
  const transactionId = furtherTransactionId(actId, eventId);
  lease.check();
  await unlessElsewhere(request, { matrixRoomId, eventId }, () =>
    redact(request, { matrixRoomId, eventId, transactionId, reason }),
  );
}

type Place = { matrixRoomId: string; eventId: string };

/** Null when the room does not have the event that is to be redacted: it was lost, or is of a former Matrix room. */
export async function unlessElsewhere<T>(
  request: Requester,
  event: Place,
  call: () => Promise<T>,
): Promise<T | null> {
  try {
    return await call();
  } catch (error) {
    if (await isMissing(request, event, error)) return null;
    throw error;
  }
}

/** @throws NotSendable when an act is refused since the room does not have the message's event. */
async function requireThere<T>(
  request: Requester,
  { matrixRoomId, eventId }: { matrixRoomId: string; eventId: string | null },
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const isLost = eventId !== null && (await isMissing(request, { matrixRoomId, eventId }, error));
    throw isLost ? new NotSendable("target_dead") : error;
  }
}

/**
 * Whether a call failed since the room does not have the event. Of a relation, the homeserver's answer does not say so: the event is
 * looked up.
 */
async function isMissing(request: Requester, event: Place, error: unknown): Promise<boolean> {
  if (!(error instanceof MatrixFailure)) return false;
  const mayBe = error.kind === "missing" || (error.kind === "unclear" && error.httpStatus === 400);
  return mayBe && (await lookUpEvent(request, event)) === "missing";
}
