/**
 * The messages that a homeserver has taken recently, as far as this process has sent them. They show whether the homeserver takes
 * the messages of other rooms while one room's message fails. Another process's sends are not seen here: then less time counts
 * against the message, never more.
 */
export type RecentSends = {
  add: (homeserverId: string, roomId: string) => void;
  /** How long ago the homeserver took a message of another room than this; null when none is known. In milliseconds. */
  othersAgoMs: (homeserverId: string, roomId: string) => number | null;
};

type Send = { roomId: string; atMs: number };

/** `now` in milliseconds, of a clock that is not set. */
export function createRecentSends(now: () => number = () => performance.now()): RecentSends {
  /** The last sends of two rooms for each homeserver, the newest first: one of them is of another room than any. */
  const lastSends = new Map<string, readonly Send[]>();
  return {
    add: (homeserverId, roomId) => {
      const [last] = lastSends.get(homeserverId) ?? [];
      // A drain sends many messages of one room in a row.
      if (last?.roomId === roomId) {
        last.atMs = now();
        return;
      }
      const others = (lastSends.get(homeserverId) ?? []).filter((send) => send.roomId !== roomId);
      lastSends.set(homeserverId, [{ roomId, atMs: now() }, ...others.slice(0, 1)]);
    },
    othersAgoMs: (homeserverId, roomId) => {
      const other = lastSends.get(homeserverId)?.find((send) => send.roomId !== roomId);
      return other ? now() - other.atMs : null;
    },
  };
}
