import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { migrateUp } from "../../migrations/index.ts";
import { openDb, type Db } from "../../shared/db/connection/open.ts";
import { randomToken } from "../../shared/platform/ids.ts";
import { watchPool } from "./open-pools.ts";

const MIGRATIONS = join(dirname(fileURLToPath(import.meta.url)), "../../migrations");

export type TestDatabase = { url: string; db: Db; close: () => Promise<void> };

/** A database for one test file: a copy of a migrated one, or empty. Closing fails while a connection to it is open. */
export async function openTestDatabase({ isEmpty = false } = {}): Promise<TestDatabase> {
  const admin = openDb({
    url: requireEnv("TEST_DATABASE_URL"),
    name: "test-admin",
    max: 1,
    statementTimeoutMs: 60_000,
  });
  const name = `omc_test_${randomToken(10)}`;
  const template = isEmpty ? "template1" : await ensureTemplate(admin);
  await admin.raw(`create database ${name} template ${template}`);
  const url = withPath(requireEnv("TEST_DATABASE_URL"), name);
  const db = openDb({ url, name: "test" });
  const unwatch = watchPool(db);
  return {
    url,
    db,
    async close() {
      unwatch();
      await db.destroy();
      try {
        // Postgres waits 5 s for other connections to end, then refuses.
        await admin.raw(`drop database ${name}`);
      } finally {
        await admin.destroy();
      }
    },
  };
}

/** The migrated database that others are copied from, one per version of the migrations. */
async function ensureTemplate(admin: Db): Promise<string> {
  const name = `omc_template_${hashMigrations()}`;
  await admin.transaction(async (lock) => {
    await lock.raw("select pg_advisory_xact_lock(7042)");
    const { rows } = await lock.raw<{ rows: unknown[] }>("select 1 from pg_database where datname = ?", [
      name,
    ]);
    if (rows.length > 0) return;
    const other = openDb({
      url: requireEnv("TEST_DATABASE_URL"),
      name: "test-template",
      max: 1,
      statementTimeoutMs: 60_000,
    });
    try {
      await buildTemplate(other, name);
    } finally {
      await other.destroy();
    }
  });
  return name;
}

/** Made under a temporary name until it is complete. */
async function buildTemplate(admin: Db, name: string): Promise<void> {
  await admin.raw(`drop database if exists ${name}_new with (force)`);
  await admin.raw(`create database ${name}_new`);
  const db = openDb({
    url: withPath(requireEnv("TEST_DATABASE_URL"), `${name}_new`),
    name: "test-template",
    max: 2,
  });
  try {
    await migrateUp(db);
  } finally {
    await db.destroy();
  }
  await admin.raw(`alter database ${name}_new rename to ${name}`);
}

function hashMigrations(): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(MIGRATIONS).sort())
    hash.update(file).update(readFileSync(join(MIGRATIONS, file)));
  return hash.digest("hex").slice(0, 12);
}

export function requireEnv(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests with npm test`);
  return value;
}

export function withPath(url: string, path: string): string {
  const changed = new URL(url);
  changed.pathname = `/${path}`;
  return changed.href;
}
