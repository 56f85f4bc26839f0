import { createLog } from "../../shared/platform/log.ts";
import { closeRedis, openRedis, waitForRedis, type Redis } from "../../shared/platform/redis.ts";
import { withPath } from "./db.ts";

export type TestSynapse = { url: string; serverName: string; asToken: string; registrationSecret: string };

/** The real Synapse of this test run. @throws when the tests were not started by `npm test`. */
export function readTestSynapse(): TestSynapse {
  return {
    url: requireVariable("TEST_SYNAPSE_URL"),
    serverName: requireVariable("TEST_SYNAPSE_SERVER_NAME"),
    asToken: requireVariable("TEST_SYNAPSE_AS_TOKEN"),
    registrationSecret: requireVariable("TEST_SYNAPSE_REGISTRATION_SECRET"),
  };
}

/** @throws when the variable is not set. */
export function requireVariable(name: string, advice = "run the tests with npm test"): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: ${advice}`);
  return value;
}

/** The folder of the compiled product, relative to the checkout. */
export function readDistFolder(): string {
  return process.env["TEST_DIST"] ?? "dist";
}

/** The number of the test Redis's databases that are used here; other tests use the others. */
const REDIS_DATABASES = 4;

export type OwnRedis = { url: string; redis: Redis; remove: () => Promise<void> };

/** An empty Redis database: each of jest's workers has one, for one test file at a time. */
export async function openOwnRedis(): Promise<OwnRedis> {
  const number = 1 + ((Number(process.env["JEST_WORKER_ID"] ?? 1) - 1) % REDIS_DATABASES);
  const url = withPath(requireVariable("TEST_REDIS_URL"), String(number));
  const redis = openRedis(url, createLog({ level: "silent", tier: "test" }), "test");
  await waitForRedis(redis, 5_000);
  await redis.flushdb();
  const remove = async () => {
    await redis.flushdb();
    closeRedis(redis);
  };
  return { url, redis, remove };
}
