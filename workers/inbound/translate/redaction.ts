import { readRedacted, type MatrixEvent } from "../../matrix/event.ts";
import { MARKER } from "../../matrix/marker.ts";
import { CONFIGURATION } from "./configuration.ts";
import { readDeletion } from "./deletion.ts";
import { translateOwn } from "./own.ts";
import { eventKey, NOTHING, type EventContext, type Translation } from "./translation.ts";

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
    act: readDeletion(roomId, event, target, context),
    mayBeState,
    isForged: event.content[MARKER] !== undefined,
  };
}

/** A redacted state event has lost its content, no matter who redacted it. */
function translateRedactedState(type: string): Translation {
  const what = CONFIGURATION.get(type);
  return what === undefined ? NOTHING : { kind: "redacted-state", what: [what] };
}
