import type { Db } from "../../shared/db/connection/open.ts";

const pools = new Set<Db>();

/** Has a pool looked at after each test; hand back what ends it. */
export function watchPool(db: Db): () => void {
  pools.add(db);
  return () => pools.delete(db);
}

/** How many connections tests have not given back. */
export function countHeldConnections(): number {
  return [...pools].reduce((sum, db) => sum + readUsed(db), 0);
}

function readUsed(db: Db): number {
  const { pool } = db.client as { pool?: { numUsed: () => number; numPendingAcquires: () => number } };
  return pool ? pool.numUsed() + pool.numPendingAcquires() : 0;
}
