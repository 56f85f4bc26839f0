import type { AppliedMembership } from "../../shared/db/memberships/applied-members.ts";
import type { OwnEvent } from "../../shared/db/messages/settle.ts";
import type { ConfigurationDrift, Successor } from "../../shared/db/rooms/changed-on-matrix.ts";
import type { RoomEntries } from "../../shared/timeline/append.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { translateEvent, type EventContext, type Translation } from "./translate-event.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the events of some rooms change, by what has to be done. Lists without a type of their own hold room ids. */
export type SyncPlan = {
  /** To be appended to the timelines. */
  entries: RoomEntries[];
  /** Messages of ours among the entries. */
  settled: OwnEvent[];
  /** To be redacted. */
  duplicates: { roomId: string; eventId: string }[];
  memberships: AppliedMembership[];
  unknownUsers: string[];
  configurationDrifts: ConfigurationDrift[];
  encrypted: string[];
  successors: Successor[];
  /** How many markers were not ours. */
  forged: number;
};

/** Plans what to do for rooms' events, oldest first. Pure. */
export function planSync(rooms: readonly RoomEvents[], context: EventContext): SyncPlan {
  const plan = emptyPlan();
  const firsts = new Map<string, string>();
  for (const { roomId, matrixRoomId, events } of rooms) {
    const entries: RoomEntries["entries"][number][] = [];
    for (const event of events) {
      const translation = asFirst(firsts, translateEvent(roomId, event, context), event.event_id);
      if (translation.kind === "message") {
        entries.push(translation.entry);
        if (translation.settles !== null) {
          plan.settled.push({ messageId: translation.settles, eventId: event.event_id, roomId });
        }
        if (translation.isForged) plan.forged++;
      } else addSideEffect(plan, { roomId, matrixRoomId }, translation);
    }
    if (entries.length > 0) plan.entries.push({ roomId, entries });
  }
  return plan;
}

function emptyPlan(): SyncPlan {
  return {
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
}

/** Of two events of one message in the same batch, the second is a duplicate. `firsts`: the first event of each message. */
function asFirst(firsts: Map<string, string>, translation: Translation, eventId: string): Translation {
  if (translation.kind !== "message" || translation.settles === null) return translation;
  const first = firsts.get(translation.settles) ?? eventId;
  firsts.set(translation.settles, first);
  return first === eventId ? translation : { kind: "duplicate", eventId };
}

function addSideEffect(
  plan: SyncPlan,
  { roomId, matrixRoomId }: Pick<RoomEvents, "roomId" | "matrixRoomId">,
  translation: Exclude<Translation, { kind: "message" }>,
): void {
  switch (translation.kind) {
    case "duplicate":
      plan.duplicates.push({ roomId, eventId: translation.eventId });
      break;
    case "membership":
      plan.memberships.push({ roomId, userId: translation.userId, applied: translation.applied });
      break;
    case "unknown-user":
      plan.unknownUsers.push(roomId);
      break;
    case "configuration-drift":
      plan.configurationDrifts.push({ roomId, what: translation.what });
      break;
    case "redacted-state":
      plan.configurationDrifts.push(...translation.what.map((what) => ({ roomId, what })));
      break;
    case "encrypted":
      plan.encrypted.push(roomId);
      break;
    case "successor":
      plan.successors.push({
        roomId,
        matrixRoomId: translation.matrixRoomId,
        predecessor: matrixRoomId,
      });
      break;
    case "nothing":
      break;
  }
}
