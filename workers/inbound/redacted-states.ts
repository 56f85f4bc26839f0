import { z } from "zod";
import { readRedacted } from "../matrix/event.ts";
import type { Requester } from "../matrix/http/client.ts";
import { roomPath } from "../matrix/rooms/room-path.ts";
import type { RoomEvents } from "./sync-plan.ts";
import { eventKey } from "./translate/translation.ts";

/** Redacted events that are looked up for one batch; the others may be of any type. */
const LOOKED_UP_AT_MOST = 20;
/** Short, since the batch waits for the answers. */
const LOOK_UP_TIMEOUT_MS = 2_000;

const storedEvent = z.object({ type: z.string(), state_key: z.string().optional() });

/**
 * The types of the state events that some redactions redact, by event id; null where the type is not known. A redaction
 * does not say what it redacts. `known`: redacted events that are here, by `eventKey`, and so no state.
 */
export async function fetchRedactedStates(
  request: Requester,
  rooms: readonly RoomEvents[],
  known: ReadonlyMap<string, unknown>,
): Promise<Map<string, string | null>> {
  const states = new Map<string, string | null>();
  const asked: { matrixRoomId: string; eventId: string }[] = [];
  for (const { roomId, matrixRoomId, events } of rooms) {
    const inBatch = new Map(events.map((event) => [event.event_id, event]));
    for (const event of events) {
      const eventId = readRedacted(event);
      if (eventId === null || known.has(eventKey(roomId, eventId))) continue;
      const found = inBatch.get(eventId);
      if (found === undefined) asked.push({ matrixRoomId, eventId });
      else if (found.state_key !== undefined) states.set(eventId, found.type);
    }
  }
  for (const { eventId } of asked.slice(LOOKED_UP_AT_MOST)) states.set(eventId, null);
  await Promise.all(
    asked.slice(0, LOOKED_UP_AT_MOST).map(async (target) => {
      const type = await fetchStateType(request, target);
      if (type !== undefined) states.set(target.eventId, type);
    }),
  );
  return states;
}

/** The type of a state event, undefined for any other event; null when it is not known, since no batch waits for it twice. */
async function fetchStateType(
  request: Requester,
  { matrixRoomId, eventId }: { matrixRoomId: string; eventId: string },
): Promise<string | null | undefined> {
  const path = roomPath(matrixRoomId, `event/${encodeURIComponent(eventId)}`);
  const answer = await request({ method: "GET", path, timeoutMs: LOOK_UP_TIMEOUT_MS }).catch(() => null);
  const parsed = storedEvent.safeParse(answer);
  if (!parsed.success) return null;
  return parsed.data.state_key === undefined ? undefined : parsed.data.type;
}
