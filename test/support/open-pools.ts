import type { Db } from "../../shared/db/connection/open.ts";

const pools = new Set<Db>();

/** Checks a pool after each test. Returns how to stop that. */
export function watchPool(db: Db): () => void {
  pools.add(db);
  return () => pools.delete(db);
}

/** The number of connections that tests have not released. */
export function countHeldConnections(): number {
  return [...pools].reduce((sum, db) => sum + readUsed(db), 0);
}

function readUsed(db: Db): number {
  const { pool } = db.client as { pool?: { numUsed: () => number; numPendingAcquires: () => number } };
  return pool ? pool.numUsed() + pool.numPendingAcquires() : 0;
}
