import type { z } from "zod";
import { attendeeUpdated, eventMemberAdd, eventMemberRemove } from "./event-members.ts";
import { eventCreated, eventDeleted, eventRenamed, eventUpdated } from "./event-rooms.ts";
import { groupMemberAdd, groupMemberRemove, groupMemberRole } from "./group-members.ts";
import { groupCreated, groupDeleted, groupRenamed, groupUpdated } from "./group-rooms.ts";
import { userDeleted, userUpdated } from "./users.ts";

/**
 * The catalogue of domain events. What follows from it: the check of a request, its handlers (`api/events/handlers`), the JSON
 * Schemas at `/docs/events.json`, and the table of `docs/events.md`.
 */
export const EVENTS = [
  eventCreated,
  eventUpdated,
  eventDeleted,
  eventRenamed,
  eventMemberAdd,
  eventMemberRemove,
  attendeeUpdated,
  groupCreated,
  groupUpdated,
  groupDeleted,
  groupRenamed,
  groupMemberAdd,
  groupMemberRemove,
  groupMemberRole,
  userUpdated,
  userDeleted,
] as const;

type AnyEvent = (typeof EVENTS)[number];
export type EventType = AnyEvent["type"];

/** What an event of a type carries. */
export type EventData<T extends EventType> = z.output<Extract<AnyEvent, { type: T }>["data"]>;

/** The definition of a type; undefined for an unknown one. */
export function findEvent(type: string): AnyEvent | undefined {
  return EVENTS.find((event) => event.type === type);
}
