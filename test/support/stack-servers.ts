import { migrateUp } from "../../migrations/index.ts";
import { openDb, type Db } from "../../shared/db/open.ts";
import { randomToken } from "../../shared/ids.ts";
import { createLog } from "../../shared/log.ts";
import { closeRedis, openRedis, waitForRedis, type Redis } from "../../shared/redis.ts";

/** The real servers of this test run. */
export type TestServers = {
  databaseUrl: string;
  redisUrl: string;
  synapse: { url: string; serverName: string; asToken: string; registrationSecret: string };
};

/** @throws when the tests were not started by `npm test`. */
export function readTestServers(): TestServers {
  return {
    databaseUrl: requireVariable("TEST_DATABASE_URL"),
    redisUrl: requireVariable("TEST_REDIS_URL"),
    synapse: {
      url: requireVariable("TEST_SYNAPSE_URL"),
      serverName: requireVariable("TEST_SYNAPSE_SERVER_NAME"),
      asToken: requireVariable("TEST_SYNAPSE_AS_TOKEN"),
      registrationSecret: requireVariable("TEST_SYNAPSE_REGISTRATION_SECRET"),
    },
  };
}

/** @throws when the variable is not set. */
export function requireVariable(name: string, advice = "run the tests with npm test"): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: ${advice}`);
  return value;
}

/** Where the compiled product is, seen from the checkout. */
export function readDistFolder(): string {
  return process.env["TEST_DIST"] ?? "dist";
}

export type OwnDatabase = { url: string; db: Db; remove: () => Promise<void> };

/** A migrated database that nobody else uses. */
export async function createOwnDatabase(serverUrl: string): Promise<OwnDatabase> {
  const name = `journey_${randomToken(10)}`;
  await onServer(serverUrl, `create database ${name}`);
  const url = withPath(serverUrl, name);
  const db = openDb({ url, name: "test" });
  const remove = async () => {
    await db.destroy();
    await onServer(serverUrl, `drop database if exists ${name} with (force)`);
  };
  try {
    await migrateUp(db);
  } catch (error) {
    await remove();
    throw error;
  }
  return { url, db, remove };
}

async function onServer(url: string, sql: string): Promise<void> {
  const db = openDb({ url, name: "test-server", max: 1 });
  try {
    await db.raw(sql);
  } finally {
    await db.destroy();
  }
}

/** Database numbers of the test Redis that are given out here; the ones below are other tests' own. */
const FIRST_NUMBER = 9;
const LAST_NUMBER = 15;
const CLAIM_TTL_S = 1_800;

export type OwnRedis = { url: string; redis: Redis; remove: () => Promise<void> };

/** An empty Redis database that no other test file uses meanwhile. */
export async function claimOwnRedis(serverUrl: string): Promise<OwnRedis> {
  const directory = await openTestRedis(serverUrl);
  const number = await claimNumber(directory);
  const url = withPath(serverUrl, String(number));
  const redis = await openTestRedis(url);
  await redis.flushdb();
  const remove = async () => {
    await redis.flushdb();
    closeRedis(redis);
    await directory.del(claimKey(number));
    closeRedis(directory);
  };
  return { url, redis, remove };
}

async function claimNumber(directory: Redis): Promise<number> {
  for (let number = FIRST_NUMBER; number <= LAST_NUMBER; number++) {
    if ((await directory.set(claimKey(number), "1", "EX", CLAIM_TTL_S, "NX")) === "OK") return number;
  }
  throw new Error("every database number of the test Redis is taken");
}

function claimKey(number: number): string {
  return `omc-test:database:${number}`;
}

async function openTestRedis(url: string): Promise<Redis> {
  const redis = openRedis(url, createLog({ level: "silent", tier: "test" }), "test");
  await waitForRedis(redis, 5_000);
  return redis;
}

function withPath(url: string, path: string): string {
  const changed = new URL(url);
  changed.pathname = `/${path}`;
  return changed.href;
}
