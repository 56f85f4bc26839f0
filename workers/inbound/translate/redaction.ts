import { readRedacted, type MatrixEvent } from "../../matrix/event.ts";
import { MARKER } from "../../matrix/marker.ts";
import { CONFIGURATION } from "./configuration.ts";
import { translateOwn } from "./own.ts";
import { readSender, readTime } from "./sender.ts";
import { eventKey, NOTHING, type EventContext, type Translation } from "./translation.ts";

const REASON_MAX_LENGTH = 500;

/** The redaction of a message, of an act on one, or of what the tenant decides. */
export function translateRedaction(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const own = translateOwn(roomId, event, context);
  if (own !== null) return own;
  const target = readRedacted(event);
  if (target === null) return NOTHING;
  const stateType = context.redactedStates.get(target);
  if (typeof stateType === "string") return translateRedactedState(stateType);
  const redacted = context.redacted.get(eventKey(roomId, target));
  if (redacted === "waiting") return { kind: "withdrawn", eventId: target };
  const mayBeState = stateType === null;
  // The observer redacts duplicates, which have no entry.
  if (redacted === undefined && event.sender === context.observerMatrixId)
    return mayBeState ? { kind: "redacted-state", what: ["levels", "description"] } : NOTHING;
  return {
    kind: "act",
    act: {
      ...{ roomId, eventId: event.event_id, targetEventId: target },
      kind: "deletion",
      content: { kind: "deletion", reason: readReason(event) },
      senderMatrixId: event.sender,
      ...readSender(roomId, event, context),
      at: readTime(event.origin_server_ts),
    },
    mayBeState,
    isForged: event.content[MARKER] !== undefined,
  };
}

/** A redacted state event has lost its content, no matter who redacted it. */
function translateRedactedState(type: string): Translation {
  const what = CONFIGURATION.get(type);
  return what === undefined ? NOTHING : { kind: "redacted-state", what: [what] };
}

function readReason({ content }: MatrixEvent): string | null {
  const reason = content["reason"];
  if (typeof reason !== "string") return null;
  // Made well-formed last: the cut may split a character, and Postgres refuses half of one.
  const safe = reason.replaceAll("\0", "").slice(0, REASON_MAX_LENGTH).toWellFormed();
  return safe === "" ? null : safe;
}
