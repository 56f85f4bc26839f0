import { createHash } from "node:crypto";
import knexPackage, { type Knex } from "knex";
import pg from "pg";
import { errorText } from "../../contract/errors.ts";
import { scrub, type Log } from "../../platform/log.ts";

/** What a query runs on: a pool of connections, or a transaction. */
export type Db = Knex;

/** The values of a statement: by name for `:name`, or in order for `?`. */
export type Bindings = Record<string, unknown> | readonly unknown[];

const { knex } = knexPackage;

// Our bigint columns hold counts and numbers far below 2^53: a JavaScript number holds them exactly.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => Number(text));

export type DbOptions = {
  url: string;
  name: string;
  /** The largest number of connections. */
  max?: number;
  /** Postgres cancels a statement after this time. */
  statementTimeoutMs?: number;
  /** Receives the pool's warnings; absent, they are dropped. */
  log?: Log;
};

/**
 * Postgres reports a cancelled statement after its limit. A connection that brings no answer for this much longer is
 * dead, though it looks open (a router forgot it): the driver ends it, since a pipeline cannot skip an answer.
 */
const ANSWER_DELAY_MS = 1_000;

/**
 * Opens a pool on Postgres. Connecting, waiting for a connection, and every statement have a time limit. The pool
 * replaces a connection that ended.
 */
export function openDb({ url, name, max = 10, statementTimeoutMs = 10_000, log }: DbOptions): Db {
  const queryTimeoutMs = statementTimeoutMs + ANSWER_DELAY_MS;
  const connection = {
    connectionString: url,
    application_name: `omc-${name}`,
    connectionTimeoutMillis: 2_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: queryTimeoutMs,
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // Sends a statement without waiting for the answers to those before it: see `transactPipelined`.
    pipeline: true,
  } satisfies pg.ClientConfig;
  const db = knex({
    client: "pg",
    // Without a log, knex prints to the console.
    log: createPoolLog(name, log),
    connection,
    pool: {
      min: 0,
      max,
      acquireTimeoutMillis: 3_000,
      createTimeoutMillis: 3_000,
      propagateCreateError: true,
      validate: isOpen,
    },
  });
  queryTimeouts.set(db, queryTimeoutMs);
  return db;
}

/** Whether the next statement may use a connection. Knex itself learns that one ended only some moments after its end. */
function isOpen({ connection }: pg.Client): boolean {
  return !connection.stream.destroyed;
}

const queryTimeouts = new WeakMap<Db, number>();

/**
 * How long the driver waits for the answer to one statement, in milliseconds.
 * @throws TypeError for a transaction, and for a pool that `openDb` did not open.
 */
export function queryTimeoutMsOf(pool: Db): number {
  const limitMs = queryTimeouts.get(pool);
  if (limitMs === undefined) throw new TypeError("a pool that openDb opened is needed here");
  return limitMs;
}

function createPoolLog(name: string, log: Log | undefined): Knex.Logger {
  const write = (level: "warn" | "debug") => (message: unknown) => {
    log?.[level]({ postgres: name, reason: scrub(errorText(message)) }, "message of the connection pool");
  };
  return { warn: write("warn"), error: write("warn"), deprecate: write("debug"), debug: write("debug") };
}

/**
 * Returns the rows of a statement, typed as the caller declares: the author of the statement knows its columns. Each
 * connection prepares a statement once, so `sql` must be a constant of the program, never built from values.
 */
export async function rowsOf<Row>(db: Db, sql: string, bindings: Bindings): Promise<Row[]> {
  const result = await rawStatement<{ rows: Row[] }>(db, sql, bindings).options({ name: statementName(sql) });
  return result.rows;
}

/** Runs a statement and ignores its rows. The rules of `rowsOf` apply. */
export async function execute(db: Db, sql: string, bindings: Bindings): Promise<void> {
  await rawStatement(db, sql, bindings).options({ name: statementName(sql) });
}

/** The statement as knex's own object. Knex's types refuse read-only arrays as values; the driver accepts them. */
export function rawStatement<Result>(db: Db, sql: string, bindings: Bindings): Knex.Raw<Result> {
  return db.raw<Result>(sql, bindings as never);
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

/** Whether Postgres answers a statement. */
export async function isDbUp(db: Db): Promise<boolean> {
  try {
    await db.raw("select 1");
    return true;
  } catch {
    return false;
  }
}
