import type { EventType } from "../../shared/contract/events/index.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import type { EventSettings } from "./handlers/define.ts";
import { HANDLERS } from "./handlers/index.ts";
import { Plan, type KnownRooms } from "./plan.ts";
import type { ReceivedEvent } from "./read-events.ts";

/** Folds events in their order: what they change together, from the rooms that are known. */
export function foldEvents(
  events: readonly ReceivedEvent[],
  known: KnownRooms,
  settings: EventSettings,
): Plan {
  const plan = new Plan(known);
  for (const event of events) foldOne(plan, event, settings);
  return plan;
}

function foldOne<T extends EventType>(
  plan: Plan,
  event: Extract<ReceivedEvent, { type: T }>,
  settings: EventSettings,
): void {
  HANDLERS[event.type as T](plan, event.data as never, settings);
}

/** The addresses that an event names: its room's, and the one to which that is renamed. */
export function addressesOf({ data }: ReceivedEvent): RoomAddress[] {
  const room: RoomAddress | null =
    "event" in data
      ? { kind: "event", slug: data.event }
      : "group" in data
        ? { kind: "group", slug: data.group }
        : null;
  if (room === null) return [];
  return "slug" in data ? [room, { kind: room.kind, slug: data.slug }] : [room];
}
