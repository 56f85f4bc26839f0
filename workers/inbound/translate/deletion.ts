import type { MatrixAct } from "../../../shared/db/acts/append-matrix-act.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { readSender, readTime } from "./sender.ts";
import type { EventContext } from "./translation.ts";

const REASON_MAX_LENGTH = 500;

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
    content: { kind: "deletion", reason: readReason(event) },
    senderMatrixId: event.sender,
    ...readSender(roomId, event, context),
    at: readTime(event.origin_server_ts),
  };
}

function readReason({ content }: MatrixEvent): string | null {
  const reason = content["reason"];
  if (typeof reason !== "string") return null;
  // Made well-formed last: the cut may split a character, and Postgres refuses half of one.
  const safe = reason.replaceAll("\0", "").slice(0, REASON_MAX_LENGTH).toWellFormed();
  return safe === "" ? null : safe;
}
