import type { MatrixAct } from "../../shared/db/acts/append-matrix-act.ts";
import type { WaitingAct } from "../../shared/db/acts/waiting-acts.ts";
import type { NewEntry } from "../../shared/timeline/append.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import type { Translation } from "./translate/translation.ts";

/** What a timeline gets next. */
export type Step =
  { kind: "entries"; roomId: string; entries: NewEntry[] } | { kind: "act"; roomId: string; act: MatrixAct };

/** An event of a room with what it is here. */
export type TranslatedEvent = { event: MatrixEvent; translation: Translation };

/**
 * The steps of one room's events, in order. An act that comes before its target stands right after it: one of the same
 * events, and one that waits in the tables. `waiting`: those, by the event id of the target. An event that was redacted before
 * it was read has no acts. Pure.
 */
export function planSteps(
  roomId: string,
  events: readonly TranslatedEvent[],
  waiting: ReadonlyMap<string, readonly WaitingAct[]>,
): Step[] {
  const steps: Step[] = [];
  const places = new Map(events.map(({ event }, place) => [event.event_id, place]));
  const held = new Map([...waiting].map(([target, acts]) => [target, acts.map(({ act }) => act)]));
  const early = new Set<string>();
  const addAct = (act: MatrixAct): void => {
    steps.push({ kind: "act", roomId, act });
    // Its redaction may have come before it too.
    addActsOn(act.eventId);
  };
  const addActsOn = (eventId: string): void => {
    const acts = held.get(eventId) ?? [];
    held.delete(eventId);
    acts.forEach(addAct);
  };
  for (const [place, { event, translation }] of events.entries()) {
    if (translation.kind === "message") addEntry(steps, roomId, translation.entry);
    for (const act of actsOf(translation)) {
      const target = act.targetEventId;
      if ((places.get(target) ?? -1) > place || early.has(target)) {
        early.add(act.eventId);
        held.set(target, [...(held.get(target) ?? []), act]);
      } else addAct(act);
    }
    if (translation.kind === "own" && translation.deletion !== null) addAct(translation.deletion);
    if (translation.kind === "message" || translation.kind === "own") addActsOn(event.event_id);
  }
  return steps;
}

function actsOf(translation: Translation): readonly MatrixAct[] {
  if (translation.kind === "act") return [translation.act];
  return translation.kind === "pins" ? translation.acts : [];
}

function addEntry(steps: Step[], roomId: string, entry: NewEntry): void {
  const last = steps.at(-1);
  if (last?.kind === "entries") last.entries.push(entry);
  else steps.push({ kind: "entries", roomId, entries: [entry] });
}
