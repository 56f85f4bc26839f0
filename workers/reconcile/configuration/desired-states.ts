import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import { EventType, GuestAccess, HistoryVisibility, JoinRule } from "../../matrix/names.ts";

/** A state event of a room that the tenant decides: one field of its content counts. */
export type DesiredState = {
  what: "name" | "topic" | "avatar" | "join rules" | "history visibility" | "guest access" | "alias";
  type: string;
  field: string;
  /** Null: the event has no such field. */
  wanted: string | null;
  /** What an event without the field means. */
  missing: string | null;
};

/** The state of a room that does not depend on its members. The power levels do: see `power-levels.ts`. */
export function listDesiredStates(room: RoomSnapshot, serverName: string): DesiredState[] {
  const state = (
    what: DesiredState["what"],
    type: string,
    field: string,
    wanted: string | null,
    missing: string | null = null,
  ): DesiredState => ({ what, type, field, wanted, missing });
  return [
    state("name", EventType.RoomName, "name", room.name),
    // Synapse refuses a topic event without a topic: an empty topic is none.
    state("topic", EventType.RoomTopic, "topic", room.topic ?? "", ""),
    state("avatar", EventType.RoomAvatar, "url", room.avatar),
    state("join rules", EventType.RoomJoinRules, "join_rule", JoinRule.Invite),
    state(
      "history visibility",
      EventType.RoomHistoryVisibility,
      "history_visibility",
      HistoryVisibility.Shared,
    ),
    state("guest access", EventType.RoomGuestAccess, "guest_access", GuestAccess.Forbidden),
    state("alias", EventType.RoomCanonicalAlias, "alias", wholeAlias(room, serverName)),
  ];
}

/** What the content of a state event says. */
export function readField({ field, missing }: DesiredState, content: unknown): unknown {
  return (content as Record<string, unknown> | null)?.[field] ?? missing;
}

export function wholeAlias(room: RoomSnapshot, serverName: string): string {
  return `#${room.alias_localpart}:${serverName}`;
}
