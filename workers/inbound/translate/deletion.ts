import type { MatrixAct } from "../../../shared/db/acts/append-matrix-act.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { readReason } from "../../matrix/rooms/member-event.ts";
import { peopleOf } from "./people.ts";
import { readSender, readTime } from "./sender.ts";
import type { EventContext } from "./translation.ts";

/** What the redaction `event` does to the event `targetEventId`: who did it, when and why. */
export function readDeletion(
  roomId: string,
  event: MatrixEvent,
  targetEventId: string,
  context: EventContext,
): MatrixAct {
  return {
    ...{ roomId, eventId: event.event_id, targetEventId },
    kind: "deletion",
    content: { kind: "deletion", reason: readReason(event, peopleOf(roomId, event, context)) },
    senderMatrixId: event.sender,
    ...readSender(roomId, event, context),
    at: readTime(event.origin_server_ts),
  };
}
