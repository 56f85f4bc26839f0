import { AppError } from "../../contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../contract/names.ts";

const WAITING_AT_MOST = 1_000;

/** Runs work of one key one after the other, work of different keys at once. */
export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/**
 * Changes of one room wait for each other in Postgres anyway, each holding a connection: here they wait without one,
 * so that a busy room leaves the pool to the others.
 * @throws AppError `unavailable` when 1,000 wait for one key.
 */
export function createKeyedMutex(): KeyedMutex {
  const lines = new Map<string, { last: Promise<unknown>; length: number }>();
  return async (key, work) => {
    const line = lines.get(key) ?? { last: Promise.resolve(), length: 0 };
    if (line.length >= WAITING_AT_MOST) {
      throw new AppError("unavailable", "Too many changes at once. Try again.", { retryAfterMs: 1_000 });
    }
    lines.set(key, line);
    line.length++;
    const turn = line.last.then(work, work);
    line.last = turn;
    try {
      return await turn;
    } finally {
      line.length--;
      if (line.length === 0) lines.delete(key);
    }
  };
}

/** Whose turn a change of a room takes. */
export function roomMutexKey(tenantId: string, room: RoomAddress): string {
  return `${tenantId} ${formatRoomKey(room)}`;
}
