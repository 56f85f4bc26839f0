import type { ClaimedEvent } from "../../shared/db/messages/settle.ts";
import { CONTENT_EVENT_TYPES, fromMatrix } from "../matrix/content/index.ts";
import { readMarker } from "../matrix/marker.ts";
import type { EventsOfRoom } from "./look-up.ts";

/**
 * The events of a batch when each claims to be another message of ours, in a room that is known. Most batches are so, and
 * are saved without a look-up. Null for any other batch. `known` gives row ids by Matrix id.
 */
export function readOwnEvents(
  rooms: readonly EventsOfRoom[],
  known: { get: (matrixRoomId: string) => string | undefined },
): ClaimedEvent[] | null {
  const own: ClaimedEvent[] = [];
  for (const { matrixRoomId, events } of rooms) {
    const roomId = known.get(matrixRoomId);
    if (roomId === undefined) return null;
    for (const event of events) {
      const messageId = CONTENT_EVENT_TYPES.includes(event.type) ? readMarker(event) : null;
      const received = messageId === null ? null : fromMatrix(event);
      if (messageId === null || received === null || event.state_key !== undefined) return null;
      own.push({
        ...{ roomId, messageId, eventId: event.event_id },
        ...{ sender: event.sender, kinds: [received.content.kind], targetEventId: received.targetEventId },
      });
    }
  }
  const isEachOnce = new Set(own.map(({ messageId }) => messageId)).size === own.length;
  return own.length > 0 && isEachOnce ? own : null;
}
