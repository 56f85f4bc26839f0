import type { EventType } from "../../shared/contract/events/index.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import type { EventSettings, Handler } from "./handlers/define.ts";
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
  for (const { type, data } of events) {
    // The handler of a type takes the data of that type.
    const handle = HANDLERS[type] as Handler<EventType>;
    handle(plan, data, settings);
  }
  return plan;
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
