import { z } from "zod";
import { OBSERVER_LEVEL, type PowerLevels, type RoomPower } from "./power-levels.ts";

const level = z.coerce.number();
const levels = z.record(z.string(), level).catch({});
const currentLevels = z.looseObject({
  users: levels,
  events: levels,
  notifications: levels,
  users_default: level.catch(0),
});

/**
 * Of a wanted power-level map, what the observer can reach from the current one: Matrix lets it neither change what is above its own level
 * nor lower those who are as high as itself. In rooms that we created, that is the wanted map; in one that was adopted, others may
 * have such levels. Pure.
 */
export function withinReach(
  current: unknown,
  wanted: PowerLevels,
  { observer, creators }: RoomPower,
): PowerLevels {
  const parsed = currentLevels.safeParse(current ?? {}).data;
  if (parsed === undefined || creators.includes(observer)) return wanted;
  const own = parsed.users[observer] ?? OBSERVER_LEVEL;
  const reach = (now: number | undefined, then: number | undefined): number | undefined => {
    if (now !== undefined && now > own) return now;
    return then === undefined || then === now ? then : Math.min(then, own);
  };
  const map = (now: Record<string, number>, then: Record<string, number>): Record<string, number> =>
    Object.fromEntries(
      Object.keys({ ...now, ...then }).flatMap((key) => {
        const reached = reach(now[key], then[key]);
        return reached === undefined ? [] : [[key, reached]];
      }),
    );
  const equals = Object.entries(parsed.users).filter(
    ([id, held]) => id !== observer && held >= own && !creators.includes(id),
  );
  return {
    ...wanted,
    users: { ...wanted.users, ...Object.fromEntries(equals) },
    events: map(parsed.events, wanted.events),
    notifications: { ...wanted.notifications, ...map(parsed.notifications, { ...wanted.notifications }) },
  };
}
