import type { RoomEntries } from "../../shared/timeline/append.ts";
import type { MatrixEvent } from "../matrix/sync-api.ts";
import { translateEvent, type EventFacts, type Translation } from "./translate-event.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

type Of<K extends Translation["kind"]> = Extract<Translation, { kind: K }>;

/** What some rooms' events mean, sorted by what is to be done. */
export type Meaning = {
  entries: RoomEntries[];
  settled: { messageId: string; eventId: string; roomId: string }[];
  doubles: { roomId: string; eventId: string }[];
  memberships: { roomId: string; userId: string; applied: "in" | "out" }[];
  /** Rooms. */
  strangers: string[];
  drifts: { roomId: string; what: Of<"drift">["what"] }[];
  encrypted: string[];
  successors: { roomId: string; matrixRoomId: string }[];
  forged: number;
};

/** Reads rooms' events, oldest first. Pure. */
export function readMeaning(rooms: readonly RoomEvents[], facts: EventFacts): Meaning {
  const meaning: Meaning = {
    entries: [],
    settled: [],
    doubles: [],
    memberships: [],
    strangers: [],
    drifts: [],
    encrypted: [],
    successors: [],
    forged: 0,
  };
  const firsts = new Map<string, string>();
  for (const { roomId, events } of rooms) {
    const entries: RoomEntries["entries"][number][] = [];
    for (const event of events) {
      const translation = asFirst(firsts, translateEvent(roomId, event, facts), event.event_id);
      if (translation.kind === "message") {
        entries.push(translation.entry);
        if (translation.settles !== null) {
          meaning.settled.push({ messageId: translation.settles, eventId: event.event_id, roomId });
        }
        if (translation.isForged) meaning.forged++;
      } else addEffect(meaning, roomId, translation);
    }
    if (entries.length > 0) meaning.entries.push({ roomId, entries });
  }
  return meaning;
}

/** A message that comes twice among the same events is the first of them; `firsts` keeps which. */
function asFirst(firsts: Map<string, string>, translation: Translation, eventId: string): Translation {
  if (translation.kind !== "message" || translation.settles === null) return translation;
  const first = firsts.get(translation.settles) ?? eventId;
  firsts.set(translation.settles, first);
  return first === eventId ? translation : { kind: "double", eventId };
}

function addEffect(meaning: Meaning, roomId: string, translation: Exclude<Translation, Of<"message">>): void {
  if (translation.kind === "double") meaning.doubles.push({ roomId, eventId: translation.eventId });
  if (translation.kind === "membership") {
    meaning.memberships.push({ roomId, userId: translation.userId, applied: translation.applied });
  }
  if (translation.kind === "stranger") meaning.strangers.push(roomId);
  if (translation.kind === "drift") meaning.drifts.push({ roomId, what: translation.what });
  if (translation.kind === "encrypted") meaning.encrypted.push(roomId);
  if (translation.kind === "successor") {
    meaning.successors.push({ roomId, matrixRoomId: translation.matrixRoomId });
  }
}
