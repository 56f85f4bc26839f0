import type { Socket } from "node:net";
import { createHash } from "node:crypto";
import knexPackage, { type Knex } from "knex";
import pg from "pg";
import { errorText } from "../../contract/errors.ts";
import { scrub, type Log } from "../../platform/log.ts";

/** A pool or a transaction: whatever a query may run on. */
export type Db = Knex;

const { knex } = knexPackage;

// bigint columns hold counts and numbers far below 2^53: read them as numbers.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => Number(text));

export type DbOptions = {
  url: string;
  name: string;
  /** Connections at most. */
  max?: number;
  /** A statement is ended by the server after this long. */
  statementTimeoutMs?: number;
  /** Where the pool says what goes wrong with its connections; absent, it says nothing. */
  log?: Log;
};

/** A pool on Postgres. Connecting, waiting for a connection, and every statement have a time limit. */
export function openDb({ url, name, max = 10, statementTimeoutMs = 10_000, log }: DbOptions): Db {
  const connection = {
    connectionString: url,
    application_name: `omc-${name}`,
    connectionTimeoutMillis: 2_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + 1_000,
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // What is handed over together goes out together: see `transactPipelined`. Knex' types do not know it.
    pipeline: true,
  };
  return knex({
    client: "pg",
    // Without one of ours, knex prints to the console.
    log: createPoolLog(name, log),
    connection,
    pool: {
      min: 0,
      max,
      acquireTimeoutMillis: 3_000,
      createTimeoutMillis: 3_000,
      propagateCreateError: true,
      afterCreate: (raw: RawConnection, done: (error: null, connection: RawConnection) => void) => {
        endWhenSilent(raw, statementTimeoutMs + 2_000);
        done(null, raw);
      },
    },
  });
}

/** The driver's connection: ready when no statement is under way. */
export type RawConnection = { connection: { stream: Socket }; readyForQuery: boolean | null };

/**
 * Ends a connection that owes an answer for longer than any statement may take. One that has died unseen, as behind a
 * router that forgot it, would go back into the pool after a statement's time limit, and fail the next.
 */
function endWhenSilent(raw: RawConnection, limitMs: number): void {
  const { stream } = raw.connection;
  stream.setTimeout(limitMs);
  // Told again and again: also after each time that there was simply nothing to ask.
  stream.on("timeout", () => {
    if (!raw.readyForQuery) stream.destroy();
  });
}

function createPoolLog(name: string, log: Log | undefined): Knex.Logger {
  const tell = (level: "warn" | "debug") => (said: unknown) => {
    log?.[level]({ postgres: name, reason: scrub(errorText(said)) }, "the pool of connections says");
  };
  return { warn: tell("warn"), error: tell("warn"), deprecate: tell("debug"), debug: tell("debug") };
}

/**
 * The rows of a statement, as the caller says they are: the statement's author knows its columns. Each connection
 * prepares a statement once, so `sql` must be one of the program's own texts, never put together from values.
 */
export async function rowsOf<Row>(
  db: Db,
  sql: string,
  bindings: Record<string, unknown> | readonly unknown[],
): Promise<Row[]> {
  const result = await db.raw<{ rows: Row[] }>(sql, bindings as never).options({ name: statementName(sql) });
  return result.rows;
}

/** Runs a statement that answers nothing, under the same terms as `rowsOf`. */
export async function execute(
  db: Db,
  sql: string,
  bindings: Record<string, unknown> | readonly unknown[],
): Promise<void> {
  await db.raw(sql, bindings as never).options({ name: statementName(sql) });
}

const names = new Map<string, string>();

/** The name under which connections prepare a statement. */
export function statementName(sql: string): string {
  const known = names.get(sql);
  if (known !== undefined) return known;
  const name = `omc_${createHash("sha256").update(sql).digest("hex").slice(0, 24)}`;
  names.set(sql, name);
  return name;
}

/** Whether Postgres answers. */
export async function isDbUp(db: Db): Promise<boolean> {
  try {
    await db.raw("select 1");
    return true;
  } catch {
    return false;
  }
}
