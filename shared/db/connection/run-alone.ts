import { setTimeout as sleep } from "node:timers/promises";
import type { Db } from "./open.ts";
import { withConnection } from "./pipelined-transaction.ts";

/** Names the lock among the advisory locks of the database. */
const LOCK = 7_043;
const POLL_MS = 250;

/**
 * Runs migrations while no other process runs any in this database; it waits for one that does. The lock ends with its
 * connection, so a process that was killed keeps nobody out. Knex has a lock of its own, which outlives its process: the
 * holder of this one ends it. The pool has two connections or more.
 */
export function runMigrationsAlone<T>(db: Db, run: () => Promise<T>): Promise<T> {
  return withConnection(db, async (connection) => {
    await lock(connection);
    try {
      await db.migrate.forceFreeMigrationsLock();
      return await run();
    } finally {
      await connection.query("select pg_advisory_unlock($1)", [LOCK]);
    }
  });
}

type Connection = Parameters<Parameters<typeof withConnection>[1]>[0];

/** Asks again and again: a statement that waits for the lock would keep `create index concurrently` waiting for its end. */
async function lock(connection: Connection): Promise<void> {
  for (;;) {
    const { rows } = await connection.query<{ taken: boolean }>("select pg_try_advisory_lock($1) as taken", [
      LOCK,
    ]);
    if (rows[0]?.taken) return;
    await sleep(POLL_MS);
  }
}
