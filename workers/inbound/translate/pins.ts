import { z } from "zod";
import type { MatrixAct } from "../../../shared/db/acts/append-matrix-act.ts";
import { isStorable, type MatrixEvent } from "../../matrix/event.ts";
import { readSender, readTime } from "./sender.ts";
import { NOTHING, type EventContext, type Translation } from "./translation.ts";

/** One event changes so many at most; others are put back. */
const CHANGES_AT_MOST = 100;

const pinned = z.object({ pinned: z.array(z.unknown()) });

/** What a person pinned and unpinned: the list is compared with the one that it replaces. */
export function translatePins(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  if (event.sender === context.observerMatrixId) return NOTHING;
  const before = readPinned(event.unsigned?.prev_content);
  const now = readPinned(event.content);
  const sender = readSender(roomId, event, context);
  const at = readTime(event.origin_server_ts);
  const act = (kind: "pin" | "unpin", targetEventId: string): MatrixAct => ({
    ...{ roomId, eventId: `${event.event_id} ${targetEventId}`, targetEventId, kind, content: { kind } },
    ...{ senderMatrixId: event.sender, ...sender, at },
  });
  const acts = [
    ...[...before].filter((id) => !now.has(id)).map((id) => act("unpin", id)),
    ...[...now].filter((id) => !before.has(id)).map((id) => act("pin", id)),
  ];
  return {
    kind: "pins",
    acts: acts.slice(0, CHANGES_AT_MOST),
    pins: { roomId, actorId: sender.userId, count: now.size },
  };
}

function readPinned(content: unknown): Set<string> {
  const ids = pinned.safeParse(content).data?.pinned ?? [];
  return new Set(ids.filter((id) => typeof id === "string").filter(isStorable));
}
