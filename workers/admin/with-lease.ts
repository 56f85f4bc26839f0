import { setTimeout as pause } from "node:timers/promises";
import { AppError } from "../../shared/contract/errors.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { acquireRoomLease, releaseRoomLease, renewRoomLease } from "../../shared/db/rooms/room-lease.ts";
import { newFence } from "../../shared/platform/ids.ts";

const TRIES = 120;
const PAUSE_MS = 250;

/**
 * Runs an operator's work as the only writer to a Matrix room: no drain is under way. Waits 30 s at most for the lease. The
 * work calls `renew` between its parts; each must take less than the lease lasts.
 * @throws AppError `unavailable` when others keep the lease, or it ended meanwhile
 */
export async function withLease<T>(
  db: Db,
  room: { tenantId: string; roomId: string },
  work: (lease: { fence: string; renew: () => Promise<void> }) => Promise<T>,
): Promise<T> {
  const fence = newFence();
  for (let attempt = 1; (await acquireRoomLease(db, { ...room, fence, claim: 0 })) === null; attempt++) {
    if (attempt >= TRIES)
      throw new AppError("unavailable", "Others write to this room all the time. Try again.");
    await pause(PAUSE_MS);
  }
  try {
    return await work({
      fence,
      renew: async () => {
        if (!(await renewRoomLease(db, room.roomId, fence))) throw leaseEnded();
      },
    });
  } finally {
    // What is due now, the sweeper wakes.
    await releaseRoomLease(db, room.roomId, fence, null);
  }
}

export function leaseEnded(): AppError {
  return new AppError("unavailable", "The work took too long, and is not complete. Repeat it.");
}
