import { Worker } from "bullmq";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import type { HealthMonitor } from "../../shared/platform/stall/health-monitor.ts";
import { QUEUE_PREFIX } from "../../shared/platform/redis-keys.ts";
import { asConnection } from "../../shared/queues/open.ts";
import {
  closeRedis,
  openWorkerRedis,
  openRedis,
  waitForRedis,
  type Redis,
} from "../../shared/platform/redis.ts";
import { watchObservers, watchQueues } from "../../workers/runtime/health-monitors.ts";
import type { QueueProgress } from "../../workers/runtime/run-jobs.ts";
import { startObservers, type Observers } from "../../workers/inbound/observers/observers.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

const NAME = "outbound-message";
const LIMITS = { everyMs: 100, limitMs: 500 };
const LIMIT_MS = 30_000;

let place: Workplace;
let connection: Redis;
let monitor: HealthMonitor | null = null;
let worker: Worker | null = null;
let observers: Observers | null = null;
let stalls: object[] = [];

beforeAll(async () => {
  place = await openWorkplace();
  connection = openWorkerRedis(place.redisUrl, place.log, "test-worker");
});
afterEach(async () => {
  monitor?.stop();
  await worker?.close(true);
  await observers?.stop();
  [monitor, worker, observers, stalls] = [null, null, null, []];
  for (const queue of Object.values(place.queues)) await queue.obliterate({ force: true });
});
afterAll(async () => {
  connection.disconnect();
  await place.close();
});

/** Watches the queues; returns how many samples were taken. */
function watch(own: Partial<QueueProgress> = {}, redis = place.redis): () => number {
  const progress: QueueProgress = { queue: NAME, concurrency: 1, running: 0, started: 0, ...own };
  let looks = 0;
  const jobs = {
    progress: () => {
      looks++;
      return [progress];
    },
    isWaiting: () => false,
    close: () => Promise.resolve(),
  };
  monitor = watchQueues(
    { redis, queues: place.queues, jobs, onStalled: (about, why) => stalls.push({ ...about, why }) },
    LIMITS,
  );
  return () => looks;
}

async function lookedOften(looks: () => number): Promise<void> {
  const before = looks();
  await until(() => looks() - before > 15, "samples were taken for three times the limit", LIMIT_MS);
}

test("a process that starts no job though one waits is reported", async () => {
  await place.queues[NAME].add(NAME, {});
  watch();
  await until(() => stalls.length > 0, "the stall is reported", LIMIT_MS);
  expect(stalls).toEqual([{ queue: NAME, why: expect.stringContaining("takes no job up") }]);
});

test("an idle process is not reported while another one starts the jobs, and is when that one has ended", async () => {
  const queue = place.queues[NAME];
  const other = async () => {
    // There is always something that waits.
    await queue.add(NAME, {});
  };
  worker = new Worker(NAME, other, { connection: asConnection(connection), prefix: QUEUE_PREFIX });
  await queue.addBulk(Array.from({ length: 20 }, () => ({ name: NAME, data: {} })));
  const looks = watch();
  await lookedOften(looks);
  expect(stalls).toEqual([]);
  await worker.close(true);
  await until(() => stalls.length > 0, "the stall is reported", LIMIT_MS);
});

test.each([
  ["nothing waits", async () => undefined],
  ["jobs are for later", () => place.queues[NAME].add(NAME, {}, { delay: 3_600_000 })],
  ["the queue is paused", () => place.queues[NAME].pause()],
])("a process that starts no job is not reported when %s", async (_, arrange) => {
  await arrange();
  if (await place.queues[NAME].isPaused()) await place.queues[NAME].add(NAME, {});
  try {
    await lookedOften(watch());
    expect(stalls).toEqual([]);
  } finally {
    await place.queues[NAME].resume();
  }
});

test("a process that runs as many jobs as it may is not reported", async () => {
  await place.queues[NAME].add(NAME, {});
  await lookedOften(watch({ running: 1 }));
  expect(stalls).toEqual([]);
});

test("a process that starts no job is not reported when Redis takes no writes or is away: a restart would not help", async () => {
  await place.queues[NAME].add(NAME, {});
  const user = "omc-reader";
  await place.redis.call("ACL", "SETUSER", user, "on", "nopass", "~*", "+@all", "-set");
  const url = new URL(place.redisUrl);
  url.username = user;
  url.password = "any";
  const reader = openRedis(url.href, place.log, "test-reader");
  try {
    await waitForRedis(reader, 5_000);
    expect(await reader.ping()).toBe("PONG");
    await lookedOften(watch({}, reader));
    expect(stalls).toEqual([]);
    monitor?.stop();
    closeRedis(reader);
    await lookedOften(watch({}, reader));
    expect(stalls).toEqual([]);
  } finally {
    closeRedis(reader);
    await place.redis.call("ACL", "DELUSER", user);
  }
});

test("an observer whose loop hangs is reported; one that fails again and again is not", async () => {
  const homeserver = new FakeHomeserver();
  let turns = 0;
  let hang = false;
  let release: () => void = () => undefined;
  homeserver.meanwhile = async (path) => {
    if (!path.endsWith("/sync")) return;
    turns++;
    if (hang) await new Promise<void>((resolve) => (release = resolve));
  };
  // What is no answer of /sync: each turn fails.
  homeserver.answer(/\/sync$/, {}, { isKept: true });
  observers = startObservers({ ...place.context(homeserver), chance: () => 0 });
  monitor = watchObservers(
    { observers, onStalled: (about, why) => stalls.push({ ...about, why }) },
    // Longer than the longest rest between two turns.
    { everyMs: 100, limitMs: 4_000 },
  );
  await until(() => turns >= 4, "four turns failed", LIMIT_MS);
  expect(stalls).toEqual([]);
  hang = true;
  try {
    await until(() => stalls.length > 0, "the stall is reported", LIMIT_MS);
    const [row] = await place.sql<{ observer_id: string }>("select observer_id from sync_positions");
    expect(stalls).toEqual([{ observer: row?.observer_id, why: expect.stringContaining("hangs") }]);
  } finally {
    release();
  }
});
