import type { RoomEntries } from "../../shared/timeline/append.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { translateEvent, type EventContext, type Translation } from "./translate-event.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

type Of<K extends Translation["kind"]> = Extract<Translation, { kind: K }>;

/** What some rooms' events mean, sorted by what is to be done. */
export type SyncPlan = {
  entries: RoomEntries[];
  settled: { messageId: string; eventId: string; roomId: string }[];
  duplicates: { roomId: string; eventId: string }[];
  memberships: { roomId: string; userId: string; applied: "in" | "out" }[];
  /** Rooms. */
  unknownUsers: string[];
  configurationDrifts: { roomId: string; what: Of<"drift">["what"] }[];
  encrypted: string[];
  successors: { roomId: string; matrixRoomId: string }[];
  forged: number;
};

/** Reads rooms' events, oldest first. Pure. */
export function planSync(rooms: readonly RoomEvents[], facts: EventContext): SyncPlan {
  const plan: SyncPlan = {
    entries: [],
    settled: [],
    duplicates: [],
    memberships: [],
    unknownUsers: [],
    configurationDrifts: [],
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
          plan.settled.push({ messageId: translation.settles, eventId: event.event_id, roomId });
        }
        if (translation.isForged) plan.forged++;
      } else addEffect(plan, roomId, translation);
    }
    if (entries.length > 0) plan.entries.push({ roomId, entries });
  }
  return plan;
}

/** A message that comes twice among the same events is the first of them; `firsts` keeps which. */
function asFirst(firsts: Map<string, string>, translation: Translation, eventId: string): Translation {
  if (translation.kind !== "message" || translation.settles === null) return translation;
  const first = firsts.get(translation.settles) ?? eventId;
  firsts.set(translation.settles, first);
  return first === eventId ? translation : { kind: "double", eventId };
}

function addEffect(plan: SyncPlan, roomId: string, translation: Exclude<Translation, Of<"message">>): void {
  if (translation.kind === "double") plan.duplicates.push({ roomId, eventId: translation.eventId });
  if (translation.kind === "membership") {
    plan.memberships.push({ roomId, userId: translation.userId, applied: translation.applied });
  }
  if (translation.kind === "stranger") plan.unknownUsers.push(roomId);
  if (translation.kind === "drift") plan.configurationDrifts.push({ roomId, what: translation.what });
  if (translation.kind === "encrypted") plan.encrypted.push(roomId);
  if (translation.kind === "successor") {
    plan.successors.push({ roomId, matrixRoomId: translation.matrixRoomId });
  }
}
