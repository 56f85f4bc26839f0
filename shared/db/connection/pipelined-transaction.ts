import type { Duplex } from "node:stream";
import knexPackage from "knex";
import pg from "pg";
import { queryTimeoutMsOf, rawStatement, statementName, type Bindings, type Db } from "./open.ts";

/** A statement for `transactPipelined`. The rules of `rowsOf` apply. */
export type Statement = { sql: string; bindings: Bindings };

type PipelineOptions<Rows extends readonly unknown[][]> = {
  onFirst?: (rows: Rows[0]) => void;
  lockWaitMs?: number;
  mayBeLost?: boolean;
};

/**
 * Runs statements as one transaction in one round trip: begin, the statements and commit are sent together, so no
 * statement can use the rows of another. Each statement sees what was committed before it began, as in any transaction
 * of Postgres's default level. Returns the rows of each statement, typed as the caller declares.
 *
 * `onFirst` receives the rows of the first statement while the others still run, for example to know that it took its
 * locks. `lockWaitMs` limits the wait for each lock (then 55P03); absent, the limit of a statement applies.
 * `mayBeLost`: the answer does not wait until the commit is on the disk. A crash of Postgres in the next second may undo it.
 * @throws the error of the first statement that failed; the transaction then changed nothing. When the connection was
 * lost, the outcome is unknown: Postgres may have committed.
 */
export async function transactPipelined<Rows extends readonly unknown[][]>(
  db: Db,
  statements: readonly Statement[],
  { onFirst, lockWaitMs, mayBeLost = false }: PipelineOptions<Rows> = {},
): Promise<Rows> {
  const limitMs = queryTimeoutMsOf(db);
  // `set` shares the statement of `begin`: a statement of its own would cost more.
  const limitLocks = lockWaitMs === undefined ? "" : `; set local lock_timeout = ${lockWaitMs}`;
  const skipDisk = mayBeLost ? "; set local synchronous_commit = off" : "";
  const queries = [
    { text: `begin${limitLocks}${skipDisk}` },
    ...statements.map((statement) => toQuery(db, statement)),
    { text: "commit" },
  ].map((query, index): TimedQuery => ({ ...query, query_timeout: (index + 1) * limitMs }));
  return withConnection(db, async (connection, pool) => {
    const results = inOneWrite(connection.connection.stream, () =>
      queries.map((query) => {
        // Knex emits the same for its own statements.
        pool.emit("query", { sql: query.text });
        return connection.query<Record<string, unknown>>(query);
      }),
    );
    // A failure of the first statement is thrown below, in the order of the statements.
    results.slice(1, -1)[0]?.then(
      ({ rows }) => {
        onFirst?.(rows);
      },
      () => undefined,
    );
    const rows = (await Promise.allSettled(results)).map((result) => {
      if (result.status === "rejected") throw result.reason;
      return result.value.rows;
    });
    // Without the answers to begin and commit.
    return rows.slice(1, -1) as unknown as Rows;
  });
}

/**
 * `query_timeout` limits one query, as the driver's option of the same name limits all; its types lack it. Every answer
 * waits for those before it, so the limit grows with the position.
 */
type TimedQuery = pg.QueryConfig & { query_timeout: number };

function toQuery(db: Db, { sql, bindings }: Statement): pg.QueryConfig {
  const { sql: text, bindings: values } = rawStatement(db, sql, bindings).toSQL().toNative();
  return { name: statementName(sql), text, values: [...values] };
}

/** Runs work on a connection of its own, and returns the connection to the pool. */
export async function withConnection<T>(
  db: Db,
  work: (connection: pg.Client, pool: InstanceType<typeof knexPackage.Client>) => Promise<T>,
): Promise<T> {
  const pool: unknown = db.client;
  if (!(pool instanceof knexPackage.Client)) throw new TypeError("a pipelined transaction needs knex's pool");
  const connection: unknown = await pool.acquireConnection();
  try {
    if (!(connection instanceof pg.Client && connection.pipeline)) {
      throw new TypeError("a pipelined transaction needs connections of pg in its pipeline mode");
    }
    return await work(connection, pool);
  } finally {
    await pool.releaseConnection(connection);
  }
}

/** Sends what `write` writes as one packet: Postgres wakes once instead of once per statement. */
function inOneWrite<T>(stream: Duplex, write: () => T): T {
  stream.cork();
  try {
    return write();
  } finally {
    stream.uncork();
  }
}
