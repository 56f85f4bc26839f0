import { isDbUnavailable } from "./failures.ts";
import { rowsOf, type Db } from "./open.ts";

/** The newest migration that the statements of this program need. */
export const NEEDED_MIGRATION = "0035-people";

/**
 * Checks that the database has the schema that this program needs; a newer one passes. An unreachable Postgres passes
 * too: a tier may start before it.
 * @throws Error that names the command to run.
 */
export async function requireSchema(db: Db): Promise<void> {
  const isMigrated = await hasMigration(db).catch((error: unknown) => {
    if (isDbUnavailable(error)) return true;
    throw error;
  });
  if (isMigrated) return;
  throw new Error(
    `the database lacks the migration ${NEEDED_MIGRATION}: run "npm run migrate" with the same DATABASE_URL, then start again`,
  );
}

async function hasMigration(db: Db): Promise<boolean> {
  const [migrations] = await rowsOf<{ table: string | null }>(
    db,
    "select to_regclass('knex_migrations') as table",
    [],
  );
  if (!migrations?.table) return false;
  return (await rowsOf(db, "select 1 from knex_migrations where name = ?", [NEEDED_MIGRATION])).length > 0;
}
