import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import type { Role } from "../../shared/contract/roles.ts";

/** The content of `m.room.power_levels`. */
export type PowerLevels = {
  users: Record<string, number>;
  users_default: number;
  events: Record<string, number>;
  events_default: number;
  state_default: number;
  ban: number;
  kick: number;
  redact: number;
  invite: number;
  notifications: { room: number };
};

/** A member who is joined on Matrix. */
export type LevelledMember = { matrixUserId: string; role: Role };

/**
 * The whole power-level map of a room. It is always sent complete: Matrix merges nothing, and a map without `events`
 * would let moderators change it. The observer, who created the room, stays above everybody.
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
      "m.room.name": 75,
      "m.room.topic": 75,
      "m.room.avatar": 75,
      "m.room.pinned_events": 75,
      "m.room.power_levels": 100,
      "m.room.encryption": 101,
      "m.room.tombstone": 100,
      "m.room.server_acl": 100,
      "m.room.history_visibility": 100,
      "m.room.join_rules": 100,
      "m.room.canonical_alias": 100,
      "m.room.guest_access": 100,
    },
    events_default: 0,
    state_default: 100,
    ban: 50,
    kick: 50,
    redact: 50,
    // Not the observer alone: one that was put out is asked back in by somebody of ours.
    invite: 50,
    notifications: { room: 50 },
  };
}

/** Whether Matrix has that map already, whatever the order of its keys. */
export function isSameLevels(current: unknown, wanted: PowerLevels): boolean {
  return stableText(current) === stableText(wanted);
}

function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
