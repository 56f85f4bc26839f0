import { existsSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../machine/fault.mjs";
import { readJson, writePrivateJson } from "../../machine/files.mjs";

/** Where a Synapse keeps its data. @typedef {"postgres" | "sqlite"} SynapseData */
/** Synapse's own setting `database`. @typedef {{name: string, args: Record<string, string | number>}} SynapseDatabase */
/** A database of a Postgres that runs. @typedef {{host: string, port: number, user: string, password: string, dbname: string}} Place */

const variable = "STACK_SYNAPSE_DATA";

/**
 * Where a Synapse keeps its data. The choice is made at its first start and stays: our Postgres, as in a deployment, or
 * SQLite when there is no Postgres of ours, no driver for it, or the data is thrown away.
 * `STACK_SYNAPSE_DATA` chooses one of them.
 * @param {{
 *   dataDir: string, env: NodeJS.ProcessEnv, durable: boolean, hasDriver: boolean,
 *   findDatabase: () => Promise<Place | undefined>, log: (line: string) => void,
 * }} given `findDatabase` waits for Postgres, and returns undefined where it was not started here
 * @returns {Promise<SynapseDatabase>}
 */
export async function openSynapseData({ dataDir, env, durable, hasDriver, findDatabase, log }) {
  const path = join(dataDir, "data.json");
  const file = join(dataDir, "homeserver.db");
  const sqlite = { name: "sqlite3", args: { database: file } };
  /** @type {{kept: SynapseData} | undefined} */
  const made = readJson(path) ?? (existsSync(file) ? { kept: "sqlite" } : undefined);
  const asked = readAsked(env);
  if (made !== undefined && asked !== undefined && asked !== made.kept)
    throw new Fault(`this Synapse keeps its data in ${titles[made.kept]}, and ${variable} is ${asked}`, {
      exitCode: 2,
      advice: `unset ${variable}, or start over with: npm run up -- --fresh`,
    });
  const desired = made?.kept ?? asked ?? (durable && hasDriver ? "postgres" : "sqlite");
  const place = desired === "postgres" && hasDriver ? await findDatabase() : undefined;
  if (place !== undefined) {
    writePrivateJson(path, { kept: "postgres" });
    log("synapse: its data is in Postgres");
    return { name: "psycopg2", args: { ...place, cp_min: 5, cp_max: 10 } };
  }
  if (made?.kept === "postgres" || asked === "postgres")
    throw new Fault(
      hasDriver
        ? "Synapse's data is to be in a Postgres of ours, and DATABASE_URL names another"
        : "Synapse's data is to be in Postgres, and this Synapse has no psycopg2",
      {
        advice: hasDriver
          ? `unset DATABASE_URL, or start over with ${variable}=sqlite npm run up -- --fresh`
          : "choose another source with STACK_SYNAPSE",
      },
    );
  writePrivateJson(path, { kept: "sqlite" });
  log("synapse: its data is in SQLite");
  return sqlite;
}

const titles = { postgres: "Postgres", sqlite: "SQLite" };

/**
 * Whether Postgres gets a database for Synapse. It is read before the place of Synapse's data is known.
 * @param {{env: NodeJS.ProcessEnv, durable: boolean}} given
 */
export function mayUsePostgres({ env, durable }) {
  return (readAsked(env) ?? (durable ? "postgres" : "sqlite")) === "postgres";
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {SynapseData | undefined}
 */
function readAsked(env) {
  const asked = env[variable];
  if (!asked) return undefined;
  if (asked === "postgres" || asked === "sqlite") return asked;
  throw new Fault(`${variable} is "${asked}"`, {
    exitCode: 2,
    advice: "set it to postgres or sqlite, or to nothing",
  });
}
