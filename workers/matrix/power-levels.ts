import type { Posting } from "../../shared/contract/permissions.ts";
import { maxRoles } from "../../shared/contract/role-limit.ts";
import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import { EventType, type RoomPowerLevelsEventContent } from "./names.ts";

export type PowerLevels = Required<RoomPowerLevelsEventContent>;

/** A member who is joined on Matrix. */
export type LevelledMember = { matrixUserId: string; level: number };

/** Who has power in a room beside its members. `creators`: as in `RoomCreation`, empty before version 12. */
export type RoomPower = { observer: string; creators: readonly string[] };

/** The observer's level where it is not above all levels as the room's creator. */
export const OBSERVER_LEVEL = 100;

/**
 * The whole power-level map of a room. It is always sent complete: Matrix merges nothing, and a map without `events`
 * would let moderators change the map. The observer stays above all members: by the map, or as the room's creator.
 * Creators must not stand in the map. Only as many members are named as a homeserver accepts, the muted ones first, then the highest.
 * `eventsDefault`: what a member needs to write, see `writingLevel`; members react and redact their own in any case.
 */
export function buildPowerLevels(
  { observer, creators }: RoomPower,
  members: readonly LevelledMember[],
  eventsDefault = 0,
): PowerLevels {
  const isObserverCreator = creators.includes(observer);
  const named = selectNamed(observer, members).filter(([id]) => id !== observer && !creators.includes(id));
  return {
    users: { ...Object.fromEntries(named), ...(isObserverCreator ? {} : { [observer]: OBSERVER_LEVEL }) },
    users_default: 0,
    events: {
      [EventType.Reaction]: 0,
      [EventType.RoomRedaction]: 0,
      [EventType.RoomName]: 75,
      [EventType.RoomTopic]: 75,
      [EventType.RoomAvatar]: 75,
      [EventType.RoomPinnedEvents]: POWER_LEVEL.moderator,
      [EventType.RoomPowerLevels]: 100,
      // Above the observer's level: no member can encrypt the room.
      [EventType.RoomEncryption]: 101,
      // Only creators replace a room that has them.
      [EventType.RoomTombstone]: isObserverCreator ? 150 : 100,
      [EventType.RoomServerAcl]: 100,
      [EventType.RoomHistoryVisibility]: 100,
      [EventType.RoomJoinRules]: 100,
      [EventType.RoomCanonicalAlias]: 100,
      [EventType.RoomGuestAccess]: 100,
    },
    events_default: eventsDefault,
    state_default: 100,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: INVITE_LEVEL,
    notifications: { room: 50 },
  };
}

/** What of a room decides who may write. */
export function writersOf(room: { posting: Posting; is_blocked: boolean }) {
  return { posting: room.posting, isBlocked: room.is_blocked };
}

/** The level that a member needs to write in a room. */
export function writingLevel({ posting, isBlocked }: { posting: Posting; isBlocked: boolean }): number {
  if (isBlocked) return POWER_LEVEL.moderator;
  return posting === "speakers" ? POWER_LEVEL.speaker : 0;
}

/** Moderators too: one of them invites an observer that was removed from the room. */
export const INVITE_LEVEL = 50;

/** The members that the map names with their levels, in the order of their ids. */
function selectNamed(observer: string, members: readonly LevelledMember[]): (readonly [string, number])[] {
  return members
    .map(({ matrixUserId, level }) => [matrixUserId, level] as const)
    .filter(([, level]) => level !== 0)
    .sort(([a, levelOfA], [b, levelOfB]) => rankOf(levelOfB) - rankOf(levelOfA) || (a < b ? -1 : 1))
    .slice(0, maxRoles(observer.slice(observer.indexOf(":") + 1)))
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function rankOf(level: number): number {
  return level < 0 ? OBSERVER_LEVEL : level;
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
