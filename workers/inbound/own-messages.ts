import type { ClaimedEvent } from "../../shared/db/messages/settle.ts";
import { readRedacted } from "../matrix/event.ts";
import { readMarker } from "../matrix/marker.ts";
import { EventType } from "../matrix/names.ts";
import { readClaim } from "./claim.ts";
import type { EventsOfRoom } from "./look-up.ts";
import type { SyncPlan } from "./sync-plan.ts";

/** Events that claim to be ours, and what a plan would say of those that are reactions or redact something. */
export type OwnEvents = { claimed: ClaimedEvent[] } & Pick<SyncPlan, "reactions" | "redacted">;

/**
 * The events of a batch when each claims to be another message or act of ours, in a room that is known. Most batches are so,
 * and are saved without a look-up. Null for any other batch. `known` gives row ids by Matrix id.
 */
export function readOwnEvents(
  rooms: readonly EventsOfRoom[],
  known: { get: (matrixRoomId: string) => string | undefined },
): OwnEvents | null {
  const own: OwnEvents = { claimed: [], reactions: [], redacted: [] };
  for (const { matrixRoomId, events } of rooms) {
    const roomId = known.get(matrixRoomId);
    if (roomId === undefined) return null;
    for (const event of events) {
      const messageId = readMarker(event);
      const claim = messageId === null ? null : readClaim(event);
      if (messageId === null || claim === null) return null;
      const redacts = readRedacted(event);
      own.claimed.push({ roomId, messageId, eventId: event.event_id, sender: event.sender, ...claim });
      if (event.type === EventType.Reaction) own.reactions.push(messageId);
      if (redacts !== null) own.redacted.push({ roomId, eventId: redacts });
    }
  }
  const isEachOnce = new Set(own.claimed.map(({ messageId }) => messageId)).size === own.claimed.length;
  return own.claimed.length > 0 && isEachOnce ? own : null;
}
