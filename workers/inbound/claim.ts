import { readKind } from "../matrix/content/index.ts";
import { readRelation, type MatrixEvent, type Relation } from "../matrix/event.ts";
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
      return readMessageClaim(event, relation);
  }
}

function readMessageClaim(event: MatrixEvent, relation: Relation | null): Claim | null {
  if (event.type === EventType.RoomMessage && relation?.type === RelationType.Replace)
    return { kinds: ["edit"], targetEventId: relation.eventId };
  const kind = readKind(event);
  return kind === null ? null : { kinds: [kind], targetEventId: null };
}
