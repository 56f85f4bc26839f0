import { isDbUnavailable } from "./failures.ts";
import { rowsOf, type Db } from "./open.ts";

/** The newest migration whose tables and functions this program's statements use. */
export const NEEDED_MIGRATION = "0016-timeline-consumers";

/**
 * Looks whether the database has the schema that this program was built for; a newer one is fine. Says nothing of a
 * Postgres that cannot be reached: a tier may start before it.
 * @throws Error that says what to run.
 */
export async function requireSchema(db: Db): Promise<void> {
  const isThere = await hasMigration(db).catch((error: unknown) => {
    if (isDbUnavailable(error)) return true;
    throw error;
  });
  if (isThere) return;
  throw new Error(
    `the database lacks the migration ${NEEDED_MIGRATION}: run "npm run migrate" with the same DATABASE_URL, then start again`,
  );
}

async function hasMigration(db: Db): Promise<boolean> {
  const [begun] = await rowsOf<{ table: string | null }>(
    db,
    "select to_regclass('knex_migrations') as table",
    [],
  );
  if (!begun?.table) return false;
  return (await rowsOf(db, "select 1 from knex_migrations where name = ?", [NEEDED_MIGRATION])).length > 0;
}
