import { Worker } from "bullmq";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { QUEUE_PREFIX } from "../../shared/platform/redis-keys.ts";
import { counter, createMetrics } from "../../shared/platform/metrics.ts";
import { asConnection, createWake, jobOptions } from "../../shared/queues/open.ts";
import { openWorkerRedis, type Redis } from "../../shared/platform/redis.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { makeMemberCountDue } from "../../shared/timeline/member-counts.ts";
import type { Repeating } from "../../shared/platform/concurrency/every.ts";
import { startSweeper } from "../../workers/runtime/sweeper.ts";
import { externalEntry, openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let sweeper: Repeating | null = null;
let worker: Worker | null = null;
let connection: Redis;
beforeAll(async () => {
  place = await openWorkplace();
  connection = openWorkerRedis(place.redisUrl, place.log, "test-worker");
});
afterEach(async () => {
  await sweeper?.stop();
  sweeper = null;
  await worker?.close();
  worker = null;
  for (const queue of Object.values(place.queues)) await queue.obliterate({ force: true });
});
afterAll(async () => {
  connection.disconnect();
  await place.close();
});

const NAME = "outbound-message";
const WAIT_MS = 15_000;

function payloadOf(room: Room): { tenantId: string; roomId: string } {
  return { tenantId: place.tenantId, roomId: room.id };
}

function wakeFor(room: Room): Promise<boolean> {
  const failures = counter(createMetrics(), { name: "test_failures_total", help: "none" }, ["queue"]);
  return createWake(place.queues, failures)(NAME, payloadOf(room));
}

function work(handle: () => Promise<void>): Worker {
  worker = new Worker(NAME, handle, { connection: asConnection(connection), prefix: QUEUE_PREFIX });
  return worker;
}

/** Ids of the rooms that have a job which waits to run now. */
async function waiting(): Promise<string[]> {
  const jobs = await place.queues[NAME].getJobs(["waiting", "prioritized"]);
  return jobs.map((job) => (job.data as { roomId: string }).roomId);
}

test("a hundred wake-ups of one room are one job", async () => {
  const room = await place.room("group:many-wakes");
  await Promise.all(Array.from({ length: 100 }, () => wakeFor(room)));
  expect(await waiting()).toEqual([room.id]);
});

test("wake-ups that arrive while the work runs make it run once more, however many there are", async () => {
  const room = await place.room("group:once-more");
  let runs = 0;
  let finish: () => void = () => undefined;
  work(async () => {
    runs++;
    if (runs === 1) await new Promise<void>((resolve) => (finish = resolve));
  });
  await wakeFor(room);
  await until(() => runs === 1, "it runs", WAIT_MS);

  for (let wakes = 0; wakes < 5; wakes++) await wakeFor(room);
  finish();

  await until(() => runs === 2, "it runs once more", WAIT_MS);
  await until(
    async () => (await place.queues[NAME].getJobCounts("active", "waiting", "delayed"))["active"] === 0,
    "it is done",
    WAIT_MS,
  );
  expect(runs).toBe(2);
  await wakeFor(room);
  await until(() => runs === 3, "a later wake runs it again", WAIT_MS);
});

test("rooms do not share their wake-ups", async () => {
  const rooms = [await place.room("group:one"), await place.room("group:other")];
  for (const room of rooms) await wakeFor(room);
  expect((await waiting()).toSorted()).toEqual(rooms.map(({ id }) => id).toSorted());
});

test("the sweeper finds due messages that nothing woke", async () => {
  const room = await place.room("group:unwoken", ["ada"]);
  await place.accept(room, "ada", "hello");
  sweeper = startSweeper(place.context(), place.queues);
  await until(async () => (await waiting()).includes(room.id), "the job is there", WAIT_MS);
});

test("the sweeper finds everything that is due: accounts, rooms, members and gaps too", async () => {
  const room = await place.room("group:all-due", ["ada"]);
  await place.sql("update rooms set members_next_attempt_at = now() where id = ?", [room.id]);
  await place.sql(
    "update room_timeline set gap_from = 's1', gap_to = 's2', gap_next_attempt_at = now() where room_id = ?",
    [room.id],
  );
  const ada = await place.userId("ada");
  sweeper = startSweeper(place.context(), place.queues);
  const find = async (name: "provisioning" | "membership" | "room-sync", id: string) =>
    (await place.queues[name].getJobs(["waiting"])).some((job) => JSON.stringify(job.data).includes(id));
  await until(
    async () =>
      (await find("provisioning", room.id)) &&
      (await find("provisioning", ada)) &&
      (await find("membership", room.id)) &&
      (await find("room-sync", room.id)),
    "all are there",
    WAIT_MS,
  );
});

test("the sweeper runs a job in back-off when its work is due", async () => {
  const room = await place.room("group:back-off", ["ada"]);
  await place.queues[NAME].add(NAME, payloadOf(room), {
    ...jobOptions(NAME, payloadOf(room), { reschedule: false }),
    delay: 3_600_000,
  });
  await wakeFor(room);
  expect(await waiting()).toEqual([]);
  await place.accept(room, "ada", "hello");
  let runs = 0;
  work(() => {
    runs++;
    return Promise.resolve();
  });
  sweeper = startSweeper(place.context(), place.queues);
  await until(() => runs > 0, "it runs", WAIT_MS);
});

test("the sweeper removes a deduplication key whose job is in no list, and the work goes on", async () => {
  const room = await place.room("group:ghost", ["ada"]);
  const queue = place.queues[NAME];
  await wakeFor(room);
  const [job] = await queue.getWaiting();
  await place.redis.lrem(queue.toKey("wait"), 0, job?.id ?? "");
  await wakeFor(room);
  expect(await waiting()).toEqual([]);
  await place.accept(room, "ada", "hello");
  const context = place.context();
  sweeper = startSweeper(context, place.queues);
  await until(async () => (await waiting()).includes(room.id), "the job is there", WAIT_MS);
  expect((await context.metrics.keysRepaired.get()).values[0]?.value).toBe(1);
});

test("the sweeper wakes nothing of a paused tenant", async () => {
  const room = await place.room("group:paused", ["ada"]);
  await place.accept(room, "ada", "hello");
  await place.sql("update tenants set status = 'paused'");
  try {
    const other = await place.room("group:gap-of-paused");
    await place.sql(
      "update room_timeline set gap_from = 's1', gap_to = 's2', gap_next_attempt_at = now() where room_id = ?",
      [other.id],
    );
    sweeper = startSweeper(place.context(), place.queues);
    // A gap is filled all the same: its messages were sent before.
    await until(
      async () => (await place.queues["room-sync"].getJobs(["waiting"])).length > 0,
      "a sweep went by",
      WAIT_MS,
    );
    expect(await waiting()).toEqual([]);
  } finally {
    await place.sql("update tenants set status = 'active'");
  }
});

test("the sweeper publishes a timeline that is not published", async () => {
  const room = await place.room("group:unpublished");
  await place.db.transaction((trx) =>
    appendEntries(trx, [{ roomId: room.id, entries: [externalEntry("hello")] }]),
  );
  sweeper = startSweeper(place.context(), place.queues);
  await until(
    async () => {
      const [row] = await place.sql<{ published_number: number }>(
        "select published_number from room_timeline where room_id = ?",
        [room.id],
      );
      return row?.published_number === 1;
    },
    "it is published",
    WAIT_MS,
  );
});

test("the sweeper appends and publishes a member count that is due", async () => {
  const room = await place.room("group:counted");
  await place.sql("update rooms set member_count = 150 where id = ?", [room.id]);
  await place.db.transaction((trx) => makeMemberCountDue(trx, place.tenantId, room.id));
  sweeper = startSweeper(place.context(), place.queues);
  await until(
    async () => {
      const [row] = await place.sql<{ published_number: number }>(
        "select published_number from room_timeline where room_id = ?",
        [room.id],
      );
      return row?.published_number === 1;
    },
    "it is published",
    WAIT_MS,
  );
  expect(await place.sql("select content from timeline where room_id = ?", [room.id])).toEqual([
    { content: { changed: { members: "150" } } },
  ]);
});
