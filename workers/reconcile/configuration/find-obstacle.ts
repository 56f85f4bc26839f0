import { z } from "zod";
import { OBSERVER_LEVEL } from "../../matrix/power-levels.ts";
import type { RoomCreation } from "../../matrix/rooms/creation.ts";

/**
 * Why a Matrix room cannot be brought to what the tenant wants.
 * - `others`: accounts whose power the observer cannot take: creators from version 12 on, or members at its own level.
 * - `isObserverWeak`: the observer may not change the power levels.
 */
export type Obstacle = { others: string[]; isObserverWeak: boolean };

const powerLevels = z.object({
  // A text in the versions before 10.
  users: z.record(z.string(), z.coerce.number()).catch({}),
  users_default: z.coerce.number().catch(0),
});

/** Null when the observer can give a room all its levels. `levels`: the content of its `m.room.power_levels`. */
export function findObstacle(
  { creators }: Pick<RoomCreation, "creators">,
  levels: unknown,
  observer: string,
): Obstacle | null {
  if (creators.includes(observer)) {
    const others = creators.filter((id) => id !== observer);
    return others.length > 0 ? { others, isObserverWeak: false } : null;
  }
  const { users, users_default: usual } = powerLevels.catch({ users: {}, users_default: 0 }).parse(levels);
  const level = users[observer] ?? usual;
  const own = Math.max(level, OBSERVER_LEVEL);
  const equals = Object.keys(users).filter((id) => id !== observer && (users[id] ?? 0) >= own);
  const others = [...new Set([...creators, ...equals])];
  const isObserverWeak = level < OBSERVER_LEVEL;
  return others.length > 0 || isObserverWeak ? { others, isObserverWeak } : null;
}
