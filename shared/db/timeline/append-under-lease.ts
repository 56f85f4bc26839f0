import { LEASE_LOST, isLeaseLost } from "../connection/failures.ts";
import type { Db } from "../connection/open.ts";
import { transactPipelined, type Statement } from "../connection/pipelined-transaction.ts";
import { LOCK_ROOM_LEASE } from "../lease.ts";
import { lockTimeline, type AppendedRow } from "./append.ts";

// It stays held until the transaction ends: the row is locked.
const REQUIRE_ROOM_LEASE = `
  with held as (${LOCK_ROOM_LEASE}) select omc_require(exists (select 1 from held), '${LEASE_LOST}')`;

/**
 * Runs statements that return AppendedRow in one transaction, under a room's lease and with its timeline locked. Returns what
 * they appended, in their order, to be published. Null when the lease has ended: then nothing is changed.
 */
export async function appendUnderLease(
  db: Db,
  roomId: string,
  fence: string,
  statements: readonly Statement[],
): Promise<AppendedRow[] | null> {
  try {
    const [, , ...appended] = await transactPipelined<[unknown[], unknown[], ...AppendedRow[][]]>(db, [
      { sql: REQUIRE_ROOM_LEASE, bindings: { roomId, fence } },
      lockTimeline(roomId),
      ...statements,
    ]);
    return appended.flat();
  } catch (error) {
    if (isLeaseLost(error)) return null;
    throw error;
  }
}
