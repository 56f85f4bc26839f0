import { CONTENT_EVENT_TYPES, fromMatrix } from "../matrix/content/index.ts";
import { readRelation, type MatrixEvent } from "../matrix/event.ts";
import { EventType, RelationType } from "../matrix/names.ts";

/** What an event with our marker claims to be: a row of one of these kinds. `targetEventId` null: any target. */
export type Claim = { kinds: readonly string[]; targetEventId: string | null };

/** Null for an event that no kind of ours becomes. */
export function readClaim(event: MatrixEvent): Claim | null {
  if (event.state_key !== undefined) return null;
  const relation = readRelation(event);
  switch (event.type) {
    case EventType.RoomRedaction:
      // The removal of a reaction names the reaction's event: its row does not know which.
      return { kinds: ["deletion", "unreaction"], targetEventId: null };
    case EventType.Reaction:
      return relation?.type === RelationType.Annotation
        ? { kinds: ["reaction"], targetEventId: relation.eventId }
        : null;
    default:
      if (!CONTENT_EVENT_TYPES.includes(event.type)) return null;
      if (relation?.type === RelationType.Replace)
        return { kinds: ["edit"], targetEventId: relation.eventId };
      return readMessageClaim(event);
  }
}

function readMessageClaim(event: MatrixEvent): Claim | null {
  const received = fromMatrix(event);
  return received === null ? null : { kinds: [received.content.kind], targetEventId: null };
}
