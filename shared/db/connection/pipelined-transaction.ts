import { statementName, type Db, type RawConnection } from "./open.ts";

/** A statement under the terms of `rowsOf`, for `transactPipelined`. */
export type Statement = { sql: string; bindings: Record<string, unknown> | readonly unknown[] };

/**
 * Runs statements as one transaction in one round trip: begin, statements and commit are sent together, so no statement
 * may be made of another's answer. Each sees what was committed before it began, as in any transaction. Answers each
 * one's rows, as the caller says they are. `onFirst` hears of the first one's rows while the others still run: of locks
 * that it took, say. `lockWaitMs`: how long each lock is waited for, then 55P03; absent, as long as a statement may take.
 * @throws what the first statement that failed throws; then nothing was changed. Where the connection was lost nobody
 * knows: Postgres may have gone on to the commit.
 */
export async function transactPipelined<Rows extends readonly unknown[][]>(
  db: Db,
  statements: readonly Statement[],
  { onFirst, lockWaitMs }: { onFirst?: (rows: Rows[0]) => void; lockWaitMs?: number } = {},
): Promise<Rows> {
  const pool = db.client as ConnectionPool;
  const native = statements.map(({ sql, bindings }) => toNative(db, sql, bindings));
  const connection = await pool.acquireConnection();
  try {
    // One write: Postgres is woken once.
    const { stream } = connection.connection;
    stream.cork();
    // Each waits for those before it.
    const query_timeout = (native.length + 2) * connection.connectionParameters.query_timeout;
    const ask = (statement: NativeStatement) => {
      // As knex tells of its own statements, to whoever counts them.
      pool.emit("query", { sql: statement.text });
      return connection.query({ ...statement, query_timeout });
    };
    // In the words of `begin`: a statement of its own would cost its way.
    const limit = lockWaitMs === undefined ? "" : `; set local lock_timeout = ${lockWaitMs}`;
    const begun = ask({ text: `begin${limit}` });
    const answers = native.map(ask);
    const committed = ask({ text: "commit" });
    stream.uncork();
    // A statement's failure is met below, with those of the others.
    answers[0]?.then(
      ({ rows }) => {
        onFirst?.(rows);
      },
      () => undefined,
    );
    const settled = await Promise.allSettled([begun, ...answers, committed]);
    for (const one of settled) if (one.status === "rejected") throw one.reason;
    return (await Promise.all(answers)).map(({ rows }) => rows) as unknown as Rows;
  } finally {
    await pool.releaseConnection(connection);
  }
}

type NativeStatement = { name?: string; text: string; values?: unknown[]; query_timeout?: number };
/** What knex keeps of its pool; a transaction has none. */
type ConnectionPool = {
  acquireConnection: () => Promise<Connection>;
  releaseConnection: (connection: Connection) => Promise<void>;
  emit: (event: "query", about: { sql: string }) => void;
};
type Connection = RawConnection & {
  /** In milliseconds, of one statement. */
  connectionParameters: { query_timeout: number };
  query: (statement: NativeStatement) => Promise<{ rows: unknown[] }>;
};

function toNative(db: Db, sql: string, bindings: Statement["bindings"]): NativeStatement {
  const { sql: text, bindings: values } = db
    .raw(sql, bindings as never)
    .toSQL()
    .toNative();
  return { name: statementName(sql), text, values: [...values] };
}
