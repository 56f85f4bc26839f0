import { isActKind, SURVIVING_ACTS } from "../../../shared/contract/content/acts.ts";
import type { MatrixAct } from "../../../shared/db/acts/append-matrix-act.ts";
import type { MarkedMessage } from "../../../shared/db/observers/find-named.ts";
import { isPruned, readRedacted, readRedaction, type MatrixEvent } from "../../matrix/event.ts";
import { MARKER } from "../../matrix/marker.ts";
import { readClaim } from "../claim.ts";
import { readDeletion } from "./deletion.ts";
import type { EventContext, Translation } from "./translation.ts";

/** What an event is when it is a message or an act of ours; null when it is neither. */
export function translateOwn(roomId: string, event: MatrixEvent, context: EventContext): Translation | null {
  const own = findOwn(roomId, event, context);
  if (own === null) return null;
  const redacts = readRedacted(event);
  // An event's id is written once: a second event of the message is the duplicate. Two redactions do the same.
  const isSecond = own.event_id !== null && own.event_id !== event.event_id;
  if (isSecond && redacts === null) return { kind: "duplicate", eventId: event.event_id, messageId: own.id };
  const isPrunedMessage = !isActKind(own.content["kind"]) && isPruned(event);
  return {
    kind: "own",
    message: own,
    isPruned: isPrunedMessage,
    deletion: isPrunedMessage ? readPruning(roomId, event, context) : null,
    redacts,
  };
}

/** The redaction that the homeserver adds to an event which it has redacted. The observer redacts what is deleted here already. */
function readPruning(roomId: string, event: MatrixEvent, context: EventContext): MatrixAct | null {
  const redaction = readRedaction(event);
  if (redaction === null || redaction.sender === context.observerMatrixId) return null;
  return readDeletion(roomId, redaction, event.event_id, context);
}

/**
 * Our row that an event is: the one that has the event's id, or the one that its marker names. Any client can write a
 * marker: it counts when room, sender, kind and target are those of the row. An account can only mislead about its own.
 */
function findOwn(roomId: string, event: MatrixEvent, context: EventContext): MarkedMessage | null {
  const answered = context.messagesByEvent.get(event.event_id);
  if (answered?.room_id === roomId) return answered;
  const markerId = event.content[MARKER];
  const marked = typeof markerId === "string" ? context.messages.get(markerId) : undefined;
  if (marked?.room_id !== roomId || !mayBeBy(event.sender, marked, context)) return null;
  const claim = readClaim(event);
  const isSo =
    claim !== null &&
    claim.kinds.some((kind) => kind === (marked.content["kind"] ?? "text")) &&
    (claim.targetEventId === null || claim.targetEventId === marked.target_event_id);
  return isSo ? marked : null;
}

/** Whether an account was to carry out what a row says. The observer does it for a person who is no member any more. */
function mayBeBy(sender: string, row: MarkedMessage, { observerMatrixId }: EventContext): boolean {
  const isByObserver =
    row.acts_as === "observer" || SURVIVING_ACTS.some((kind) => kind === row.content["kind"]);
  return (
    (isByObserver && sender === observerMatrixId) ||
    (row.acts_as === "sender" && sender === row.sender_matrix_id)
  );
}
