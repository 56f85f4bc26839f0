import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import type { Role } from "../../shared/contract/roles.ts";
import { EventType, type RoomPowerLevelsEventContent } from "./names.ts";

export type PowerLevels = Required<RoomPowerLevelsEventContent>;

/** A member who is joined on Matrix. */
export type LevelledMember = { matrixUserId: string; role: Role };

/**
 * The whole power-level map of a room. It is always sent complete: Matrix merges nothing, and a map without `events`
 * would let moderators change the map. The observer, who created the room, stays above all members.
 */
export function buildPowerLevels(observerMatrixId: string, members: readonly LevelledMember[]): PowerLevels {
  const levelled = members
    .map(({ matrixUserId, role }) => [matrixUserId, POWER_LEVEL[role]] as const)
    .filter(([, level]) => level !== 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    users: { ...Object.fromEntries(levelled), [observerMatrixId]: 100 },
    users_default: 0,
    events: {
      [EventType.RoomName]: 75,
      [EventType.RoomTopic]: 75,
      [EventType.RoomAvatar]: 75,
      [EventType.RoomPinnedEvents]: 75,
      [EventType.RoomPowerLevels]: 100,
      // Above the observer's level: no member can encrypt the room.
      [EventType.RoomEncryption]: 101,
      [EventType.RoomTombstone]: 100,
      [EventType.RoomServerAcl]: 100,
      [EventType.RoomHistoryVisibility]: 100,
      [EventType.RoomJoinRules]: 100,
      [EventType.RoomCanonicalAlias]: 100,
      [EventType.RoomGuestAccess]: 100,
    },
    events_default: 0,
    state_default: 100,
    ban: 50,
    kick: 50,
    redact: 50,
    // Moderators too: one of them invites an observer that was removed from the room.
    invite: 50,
    notifications: { room: 50 },
  };
}

/** Whether Matrix has the desired map already. The order of keys does not count. */
export function isSameLevels(current: unknown, desired: PowerLevels): boolean {
  return stableText(current) === stableText(desired);
}

function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
