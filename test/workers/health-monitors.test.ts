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
let told: object[] = [];

beforeAll(async () => {
  place = await openWorkplace();
  connection = openWorkerRedis(place.redisUrl, place.log, "test-worker");
});
afterEach(async () => {
  monitor?.stop();
  await worker?.close(true);
  await observers?.stop();
  [monitor, worker, observers, told] = [null, null, null, []];
  for (const queue of Object.values(place.queues)) await queue.obliterate({ force: true });
});
afterAll(async () => {
  connection.disconnect();
  await place.close();
});

/** Watches the queues for a process that takes up nothing; answers how often was looked. */
function watch(own: Partial<QueueProgress> = {}, redis = place.redis): () => number {
  const progress: QueueProgress = { queue: NAME, places: 1, running: 0, taken: 0, ...own };
  let looks = 0;
  const jobs = {
    progress: () => {
      looks++;
      return [progress];
    },
    close: () => Promise.resolve(),
  };
  monitor = watchQueues(
    { redis, queues: place.queues, jobs, onStalled: (about, why) => told.push({ ...about, why }) },
    LIMITS,
  );
  return () => looks;
}

async function lookedOften(looks: () => number): Promise<void> {
  const before = looks();
  await until(() => looks() - before > 15, "it was looked three times as long as it takes", LIMIT_MS);
}

test("a process that takes nothing up though a job waits is told of", async () => {
  await place.queues[NAME].add(NAME, {});
  watch();
  await until(() => told.length > 0, "it is told", LIMIT_MS);
  expect(told).toEqual([{ queue: NAME, why: expect.stringContaining("takes no job up") }]);
});

test("an idle process is spared while another one takes the jobs up, and found when that one has gone", async () => {
  const queue = place.queues[NAME];
  const other = async () => {
    // There is always something that waits.
    await queue.add(NAME, {});
  };
  worker = new Worker(NAME, other, { connection: asConnection(connection), prefix: QUEUE_PREFIX });
  await queue.addBulk(Array.from({ length: 20 }, () => ({ name: NAME, data: {} })));
  const looks = watch();
  await lookedOften(looks);
  expect(told).toEqual([]);
  await worker.close(true);
  await until(() => told.length > 0, "it is told", LIMIT_MS);
});

test.each([
  ["nothing waits", async () => undefined],
  ["jobs are for later", () => place.queues[NAME].add(NAME, {}, { delay: 3_600_000 })],
  ["the queue is paused", () => place.queues[NAME].pause()],
])("a process that takes nothing up is spared when %s", async (_, arrange) => {
  await arrange();
  if (await place.queues[NAME].isPaused()) await place.queues[NAME].add(NAME, {});
  try {
    await lookedOften(watch());
    expect(told).toEqual([]);
  } finally {
    await place.queues[NAME].resume();
  }
});

test("a process that takes nothing up is spared when its places are taken", async () => {
  await place.queues[NAME].add(NAME, {});
  await lookedOften(watch({ running: 1 }));
  expect(told).toEqual([]);
});

test("a process that takes nothing up is spared when Redis takes no writes or is away: another would fare no better", async () => {
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
    expect(told).toEqual([]);
    monitor?.stop();
    closeRedis(reader);
    await lookedOften(watch({}, reader));
    expect(told).toEqual([]);
  } finally {
    closeRedis(reader);
    await place.redis.call("ACL", "DELUSER", user);
  }
});

test("an observer whose turn never ends is told of; one that fails again and again is not", async () => {
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
    { observers, onStalled: (about, why) => told.push({ ...about, why }) },
    // Longer than the longest rest between two turns.
    { everyMs: 100, limitMs: 4_000 },
  );
  await until(() => turns >= 4, "four turns failed", LIMIT_MS);
  expect(told).toEqual([]);
  hang = true;
  try {
    await until(() => told.length > 0, "it is told", LIMIT_MS);
    const [row] = await place.sql<{ observer_id: string }>("select observer_id from sync_positions");
    expect(told).toEqual([{ observer: row?.observer_id, why: expect.stringContaining("hangs") }]);
  } finally {
    release();
  }
});
