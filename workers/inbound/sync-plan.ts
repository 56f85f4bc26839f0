import type { AppliedMembership } from "../../shared/db/memberships/applied-members.ts";
import type { NotedRemoval } from "../../shared/db/memberships/removals.ts";
import type { OwnEvent } from "../../shared/db/messages/settle.ts";
import type { ConfigurationDrift, Successor } from "../../shared/db/rooms/changed-on-matrix.ts";
import type { RoomEntries } from "../../shared/timeline/append.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { translateEvent, type EventContext, type Translation } from "./translate-event.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the events of some rooms change, by what has to be done. Lists without a type of their own hold room ids. */
export type SyncPlan = {
  /** What others wrote, to be appended to the timelines. */
  entries: RoomEntries[];
  /** Messages of ours. */
  settled: OwnEvent[];
  /** Those of them that were redacted before we read them, by id. */
  pruned: string[];
  /** Rooms with messages of ours that have no number yet: see `number-older.ts`. */
  unnumbered: string[];
  /** To be redacted. */
  duplicates: { roomId: string; eventId: string; messageId: string }[];
  /** Dead messages of ours that Matrix has after all, by id. */
  revived: string[];
  memberships: AppliedMembership[];
  /** To be settled. */
  removals: NotedRemoval[];
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
        if (translation.isForged) plan.forged++;
      } else addSideEffect(plan, { roomId, matrixRoomId, eventId: event.event_id }, translation);
    }
    if (entries.length > 0) plan.entries.push({ roomId, entries });
  }
  return plan;
}

/** Of a plan, what does not wait for a gap: messages of ours. Duplicates are redacted when the gap is filled. */
export function keepOwn({ settled, pruned, unnumbered, revived }: SyncPlan): SyncPlan {
  return { ...emptyPlan(), settled, pruned, unnumbered, revived };
}

/** The plan for messages of ours that were redacted before an observer read them. */
export function planPruned(settled: OwnEvent[]): SyncPlan {
  const unnumbered = settled.map(({ roomId }) => roomId);
  return { ...emptyPlan(), settled, unnumbered, pruned: settled.map(({ messageId }) => messageId) };
}

/** Joins the plans of different rooms. */
export function joinPlans(one: SyncPlan, other: SyncPlan): SyncPlan {
  return {
    ...one,
    settled: [...one.settled, ...other.settled],
    pruned: [...one.pruned, ...other.pruned],
    unnumbered: [...one.unnumbered, ...other.unnumbered],
    revived: [...one.revived, ...other.revived],
  };
}

/** The rooms whose timelines the plan changes, or whose state. */
export function roomsToLock(plan: SyncPlan): Set<string> {
  const { entries, unnumbered, encrypted, unknownUsers } = plan;
  const { memberships, removals, configurationDrifts, successors } = plan;
  const named = [...entries, ...memberships, ...removals, ...configurationDrifts, ...successors];
  const appended = new Set([...plan.pruned, ...plan.revived]);
  const withEntries = plan.settled.filter(({ messageId }) => appended.has(messageId));
  return new Set([
    ...[...named, ...withEntries].map(({ roomId }) => roomId),
    ...[...unnumbered, ...encrypted, ...unknownUsers],
  ]);
}

function emptyPlan(): SyncPlan {
  return {
    entries: [],
    settled: [],
    pruned: [],
    unnumbered: [],
    duplicates: [],
    revived: [],
    memberships: [],
    removals: [],
    unknownUsers: [],
    configurationDrifts: [],
    encrypted: [],
    successors: [],
    forged: 0,
  };
}

/** Of two events of one message in the same batch, the second is a duplicate. `firsts`: the first event of each message. */
function asFirst(firsts: Map<string, string>, translation: Translation, eventId: string): Translation {
  if (translation.kind !== "own") return translation;
  const first = firsts.get(translation.message.id) ?? eventId;
  firsts.set(translation.message.id, first);
  return first === eventId ? translation : { kind: "duplicate", eventId, messageId: translation.message.id };
}

function addSideEffect(
  plan: SyncPlan,
  { roomId, matrixRoomId, eventId }: Pick<RoomEvents, "roomId" | "matrixRoomId"> & { eventId: string },
  translation: Exclude<Translation, { kind: "message" }>,
): void {
  switch (translation.kind) {
    case "own":
      plan.settled.push({ messageId: translation.message.id, eventId, roomId });
      if (translation.isPruned) plan.pruned.push(translation.message.id);
      if (translation.message.number === null) plan.unnumbered.push(roomId);
      if (translation.message.status === "dead") plan.revived.push(translation.message.id);
      break;
    case "duplicate":
      plan.duplicates.push({ roomId, eventId: translation.eventId, messageId: translation.messageId });
      break;
    case "membership":
      addMembership(plan, roomId, translation);
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

function addMembership(
  plan: SyncPlan,
  roomId: string,
  translation: Extract<Translation, { kind: "membership" }>,
): void {
  const { userId, applied } = translation;
  plan.memberships.push({ roomId, userId, applied });
  if (applied === "out" && translation.removal !== null)
    plan.removals.push({ roomId, userId, ...translation.removal });
}
