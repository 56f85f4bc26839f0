import type { ConfigurationDrift } from "../../../shared/db/rooms/matrix/changed-on-matrix.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { EventType } from "../../matrix/names.ts";
import { NOTHING, type EventContext, type Translation } from "./translation.ts";

/** What the tenant decides of a room's state, by type of event. */
export const CONFIGURATION: ReadonlyMap<string, ConfigurationDrift["what"]> = new Map([
  [EventType.RoomPowerLevels, "levels"],
  [EventType.RoomName, "description"],
  [EventType.RoomTopic, "description"],
  [EventType.RoomAvatar, "description"],
  [EventType.RoomJoinRules, "description"],
  [EventType.RoomHistoryVisibility, "description"],
  [EventType.RoomGuestAccess, "description"],
  [EventType.RoomCanonicalAlias, "description"],
  [EventType.RoomPinnedEvents, "description"],
]);

export function translateConfiguration(
  _roomId: string,
  event: MatrixEvent,
  context: EventContext,
): Translation {
  const what = CONFIGURATION.get(event.type);
  const isDrift = what !== undefined && event.sender !== context.observerMatrixId;
  return isDrift ? { kind: "configuration-drift", what } : NOTHING;
}
