import type { AppliedMembership } from "../../shared/db/memberships/applied-members.ts";
import type { NotedRemoval } from "../../shared/db/memberships/removals.ts";
import type { BanOnMatrix } from "../../shared/db/bans/bans.ts";
import type { PinsOnMatrix } from "../../shared/db/pins/pinned.ts";
import type { DescriptionOnMatrix } from "../../shared/db/rooms/matrix/described-on-matrix.ts";
import type { WaitingAct } from "../../shared/db/acts/waiting-acts.ts";
import type { OwnEvent } from "../../shared/db/messages/settle.ts";
import type { ConfigurationDrift, Successor } from "../../shared/db/rooms/matrix/changed-on-matrix.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { planSteps, type Step, type TranslatedEvent } from "./sync-steps.ts";
import { translateEvent } from "./translate/index.ts";
import type { EventContext, Translation } from "./translate/translation.ts";

/** Events of a room, oldest first. */
export type RoomEvents = { roomId: string; matrixRoomId: string; events: readonly MatrixEvent[] };

/** What the events of some rooms change, by what has to be done. Lists without a type of their own hold room ids. */
export type SyncPlan = {
  /** What others wrote and did, in order. */
  steps: Step[];
  /** Acts that waited and are among the steps, or are dropped. */
  adopted: { roomId: string; eventId: string }[];
  /** Messages and acts of ours. */
  settled: OwnEvent[];
  /** Reactions of ours among them, by id, and events that redactions of ours redact. */
  reactions: string[];
  redacted: { roomId: string; eventId: string }[];
  /** Those of them that were redacted before we read them, by id: deleted by nobody, unless a step says by whom. */
  pruned: string[];
  /** To be redacted. */
  duplicates: { roomId: string; eventId: string; messageId: string }[];
  /** Dead messages of ours that Matrix has after all, by id. */
  revived: string[];
  memberships: AppliedMembership[];
  /** To be settled. */
  removals: NotedRemoval[];
  /** Of people who are no members. */
  bans: BanOnMatrix[];
  descriptions: DescriptionOnMatrix[];
  /** Lists of pinned messages that others wrote: what they change is among the steps. */
  pins: PinsOnMatrix[];
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
    const translated = events.map((event): TranslatedEvent => {
      const translation = asFirst(firsts, translateEvent(roomId, event, context), event.event_id);
      return { event, translation };
    });
    for (const { event, translation } of translated)
      addSideEffect(plan, { roomId, matrixRoomId, eventId: event.event_id }, translation);
    const withdrawn = new Set(
      translated.flatMap(({ translation }) =>
        translation.kind === "withdrawn" ? [translation.eventId] : [],
      ),
    );
    const waiting = context.waiting.filter((act) => act.room_id === roomId && !withdrawn.has(act.event_id));
    plan.adopted.push(...waiting.map(({ event_id: eventId }) => ({ roomId, eventId })));
    plan.steps.push(...planSteps(roomId, translated, groupByTarget(waiting)));
  }
  return plan;
}

function groupByTarget(waiting: readonly WaitingAct[]): Map<string, WaitingAct[]> {
  const byTarget = new Map<string, WaitingAct[]>();
  for (const act of waiting)
    byTarget.set(act.target_event_id, [...(byTarget.get(act.target_event_id) ?? []), act]);
  return byTarget;
}

/**
 * Of a plan, what does not wait for a gap: what is ours. When the gap is filled, duplicates are redacted, and what was redacted is
 * deleted by who redacted it.
 */
export function keepOwn({ settled, reactions, redacted, revived }: SyncPlan): SyncPlan {
  return { ...emptyPlan(), settled, reactions, redacted, revived };
}

/**
 * Of a plan, what the history of an adopted room changes here. Who came, and what was configured, then says nothing of now: the
 * members and the room's description are due anyway.
 */
export function planAdopted(plan: SyncPlan): SyncPlan {
  return { ...plan, unknownUsers: [], removals: [], configurationDrifts: [] };
}

/** The plan for messages of ours that were redacted before an observer read them. */
export function planPruned(settled: OwnEvent[]): SyncPlan {
  return { ...emptyPlan(), settled, pruned: settled.map(({ messageId }) => messageId) };
}

/** The plan for acts that waited in one room, and whose targets are here. */
export function planWaiting(roomId: string, waiting: readonly WaitingAct[]): SyncPlan {
  const adopted = waiting.map(({ event_id: eventId }) => ({ roomId, eventId }));
  const steps = waiting.map(({ act }): Step => ({ kind: "act", roomId, act }));
  return { ...emptyPlan(), adopted, steps };
}

/** Joins the plans of different rooms. */
export function joinPlans(one: SyncPlan, other: SyncPlan): SyncPlan {
  return {
    ...one,
    settled: [...one.settled, ...other.settled],
    reactions: [...one.reactions, ...other.reactions],
    redacted: [...one.redacted, ...other.redacted],
    pruned: [...one.pruned, ...other.pruned],
    revived: [...one.revived, ...other.revived],
  };
}

/** The rooms whose timelines the plan changes, or whose state. */
export function roomsToLock(plan: SyncPlan): Set<string> {
  const { steps, adopted, encrypted, unknownUsers } = plan;
  const { memberships, removals, configurationDrifts, successors, descriptions, pins } = plan;
  const states = [...configurationDrifts, ...descriptions, ...pins, ...successors];
  const named = [...adopted, ...memberships, ...removals, ...states];
  const appended = new Set([...plan.pruned, ...plan.revived]);
  const withEntries = plan.settled.filter(({ messageId }) => appended.has(messageId));
  return new Set([
    ...[...named, ...withEntries].map(({ roomId }) => roomId),
    ...[...steps.map(({ roomId }) => roomId), ...encrypted, ...unknownUsers],
  ]);
}

function emptyPlan(): SyncPlan {
  return {
    steps: [],
    adopted: [],
    settled: [],
    reactions: [],
    redacted: [],
    pruned: [],
    duplicates: [],
    revived: [],
    memberships: [],
    removals: [],
    bans: [],
    descriptions: [],
    pins: [],
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
  return first === eventId || translation.redacts !== null
    ? translation
    : { kind: "duplicate", eventId, messageId: translation.message.id };
}

function addSideEffect(
  plan: SyncPlan,
  { roomId, matrixRoomId, eventId }: Pick<RoomEvents, "roomId" | "matrixRoomId"> & { eventId: string },
  translation: Translation,
): void {
  switch (translation.kind) {
    case "own":
      addOwn(plan, { roomId, eventId }, translation);
      break;
    case "withdrawn":
      plan.adopted.push({ roomId, eventId: translation.eventId });
      break;
    case "message":
      if (translation.isForged) plan.forged++;
      break;
    case "act":
      if (translation.isForged) plan.forged++;
      if (translation.mayBeState === true) addDrifts(plan, roomId, ["levels", "description"]);
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
    case "description":
      plan.descriptions.push(translation.change);
      break;
    case "pins":
      plan.pins.push(translation.pins);
      break;
    case "redacted-state":
      addDrifts(plan, roomId, translation.what);
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

function addDrifts(plan: SyncPlan, roomId: string, drifts: readonly ConfigurationDrift["what"][]): void {
  plan.configurationDrifts.push(...drifts.map((what) => ({ roomId, what })));
}

function addOwn(
  plan: SyncPlan,
  { roomId, eventId }: { roomId: string; eventId: string },
  { message, isPruned, redacts }: Extract<Translation, { kind: "own" }>,
): void {
  // One redaction may be read as two events: it is settled by the first.
  if (!plan.settled.some((settled) => settled.messageId === message.id))
    plan.settled.push({ messageId: message.id, eventId, roomId });
  if (message.content["kind"] === "reaction") plan.reactions.push(message.id);
  if (redacts !== null) plan.redacted.push({ roomId, eventId: redacts });
  if (isPruned) plan.pruned.push(message.id);
  if (message.status === "dead") plan.revived.push(message.id);
}

function addMembership(
  plan: SyncPlan,
  roomId: string,
  translation: Extract<Translation, { kind: "membership" }>,
): void {
  const { userId, applied } = translation;
  plan.memberships.push({ roomId, userId, applied });
  if (applied === "out" && translation.ban) plan.bans.push(translation.ban);
  if (applied === "out" && translation.removal !== null)
    plan.removals.push({ roomId, userId, ...translation.removal });
}
