import { parseAct, SURVIVING_ACTS } from "../../../shared/contract/content/acts.ts";
import { parseContent } from "../../../shared/contract/content/index.ts";
import type { ClaimedMessage } from "../../../shared/db/messages/outbox.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import { toMatrix } from "../../matrix/content/index.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import { sendEvent } from "../../matrix/rooms/events.ts";
import { NotWanted } from "../../reconcile/ensure-joined.ts";
import { actAsObserver } from "../../reconcile/observer/act-as-observer.ts";
import { isRefused } from "../../reconcile/observer/presence.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { performAct } from "./perform-act.ts";
import type { People } from "./mentioned-people.ts";
import { findAnswered, planAct, type Answered, type PlannedAct, type SentEvents } from "./targets.ts";
import {
  mendLevels,
  mendRoom,
  mendSender,
  prepareRoom,
  prepareSender,
  requireExisting,
  requireSender,
  type MessageOfUser,
  type Sending,
} from "./prepare.ts";
import { during, SendFailed } from "./send-failed.ts";

/** Sends a message once, or carries an act out, as an account. Null: there is no event, and none will be seen. */
type Work = (sending: Sending, request: Requester) => Promise<string | null>;

/** Whether the observer carries an act out: for a moderator, and for a person who is no member any more. */
export function isByObserver(message: ClaimedMessage): boolean {
  const { target_id: targetId, acts_as: actsAs, sender_is_wanted: isWanted, content } = message;
  const survives = SURVIVING_ACTS.some((kind) => kind === content["kind"]);
  return actsAs === "observer" || (targetId !== null && !isWanted && survives);
}

/**
 * Sends one message, or carries out one act, after it has ensured what that needs on Matrix: the room, the sender's account, the
 * join. `sentEvents`: what this drain has sent. `people`: whom it mentions, see `findMentioned`. Returns the event's id; null for an act without one.
 * @throws SendFailed, LeaseLost; NotSendable; NotWanted when the sender was removed, and the message was never claimed before or
 *   the sender is not joined.
 */
export async function sendMessage(
  context: WorkerContext,
  room: RoomSnapshot,
  message: ClaimedMessage,
  { lease, sentEvents, people }: { lease: RoomLease; sentEvents: SentEvents; people: People },
): Promise<string | null> {
  const isObserver = isByObserver(message);
  // A message that a crashed drain had claimed may be sent already. Sending it again with its transaction id settles that.
  if (!isObserver && !message.was_sending && !message.sender_is_wanted)
    throw new NotWanted("the sender was removed");
  const act = message.target_id === null ? null : parseAct(message.content);
  const planned = act && (await planAct(context.db, room.id, { act, message, sentEvents, people }));
  if (planned?.calls.length === 0) return null;
  const homeserver = await during("room", () => context.homeserver(room.homeserver_id));
  const sending = { context, homeserver, room, lease };
  await during("room", () => prepareRoom(sending));
  const work =
    planned === null
      ? sendContent(message, findAnswered(message, sentEvents), people)
      : performPlanned(message, planned);
  return isObserver ? workAsObserver(sending, work) : workAsSender(sending, requireSender(message), work);
}

function sendContent(message: ClaimedMessage, answered: Answered, people: People): Work {
  return async ({ homeserver, room }, request) => {
    const content = parseContent(message.content);
    const sendAs = ({ targetEventId, threadEventId }: Answered) =>
      sendEvent(request, {
        matrixRoomId: requireExisting(room).matrix_room_id,
        id: message.id,
        event: toMatrix(content, { targetEventId, threadEventId, people }),
        atMs: homeserver.keepsTime ? message.accepted_at_ms : null,
      });
    try {
      return await sendAs(answered);
    } catch (error) {
      // The homeserver looks at a thread: of one that it does not have, or does not want, the message is a reply alone.
      const isRefused =
        error instanceof MatrixFailure && error.kind === "unclear" && error.httpStatus === 400;
      if (!isRefused || answered.threadEventId === null) throw error;
      return sendAs({ ...answered, threadEventId: null });
    }
  };
}

function performPlanned(message: ClaimedMessage, planned: PlannedAct): Work {
  return (sending, request) => performAct(sending, request, message, planned);
}

async function workAsSender(sending: Sending, given: MessageOfUser, work: Work): Promise<string | null> {
  const { homeserver, lease } = sending;
  let message = given;
  const send = async () => {
    if (!message.sender_is_registered || !message.sender_is_joined)
      await during("sender", () => prepareSender(sending, message));
    lease.check();
    const request = await during("sender", () => homeserver.as(message.sender_matrix_id));
    return during("send", () => work(sending, request));
  };
  return repeatOnce(sending, send, async () => {
    await mendSender(sending, message);
    message = { ...message, sender_is_registered: true, sender_is_joined: true };
  });
}

async function workAsObserver(sending: Sending, work: Work): Promise<string | null> {
  const { homeserver, room } = sending;
  const request = await during("room", () => actAsObserver(homeserver, room.observer_matrix_id));
  return repeatOnce(
    sending,
    () => during("send", () => work(sending, request)),
    () => mendLevels(sending),
  );
}

/** Repairs what Matrix may lack when it refuses a call, and repeats it once. */
async function repeatOnce(
  sending: Sending,
  send: () => Promise<string | null>,
  mend: () => Promise<void>,
): Promise<string | null> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof SendFailed && isRefused(error.failure))) throw error;
    const isRoomMended = await during("room", () => mendRoom(sending));
    if (!isRoomMended && error.failure.kind !== "forbidden") throw error;
    await mend();
  }
  return send();
}
