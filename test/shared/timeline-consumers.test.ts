import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { deleteRoom } from "../../api/mutations/delete-room.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { registerConsumers } from "../../shared/db/timeline/consumers.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { defineConsumer, type Delivery } from "../../shared/timeline/consumers/define.ts";
import type { Deliver, RunningConsumer } from "../../workers/consumers/deliver.ts";
import { wakeConsumers } from "../../workers/consumers/wake.ts";
import { handleMaintenance } from "../../workers/jobs/maintenance.ts";
import { handleTimelineConsumer } from "../../workers/jobs/timeline-consumer.ts";
import type { JobResult, WorkerContext } from "../../workers/runtime/context.ts";
import { startSweeper } from "../../workers/runtime/sweeper.ts";
import { externalEntry, openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  room = await place.room(`group:consumed-${++count}`);
});
afterEach(async () => {
  await place.sql("delete from timeline_consumers");
  await place.sql("delete from timeline_cursors");
  await place.sql("delete from parked_entries");
});
afterAll(() => place.close());

function append(...texts: string[]) {
  const entries = texts.map((text) => externalEntry(text));
  return transact(place.db, (trx) => appendEntries(trx, [{ roomId: room.id, entries }]));
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

/** Entries by number, gaps as `from-to`. */
function brief(delivery: Delivery): number | string {
  return delivery.type === "gap" ? `${delivery.from}-${delivery.to}` : delivery.number;
}

type Recorder = { consumer: RunningConsumer; context: WorkerContext; got: Delivery[] };

/** A registered consumer that keeps what it receives, unless `deliver` throws. */
async function register(
  start: "now" | 1 = 1,
  deliver: Deliver = () => Promise.resolve(),
  name = "recorder",
): Promise<Recorder> {
  const got: Delivery[] = [];
  const consumer: RunningConsumer = {
    ...defineConsumer({ name, start }),
    deliver: async (delivery, context) => {
      await deliver(delivery, context);
      got.push(delivery);
    },
  };
  await registerConsumers(place.db, [consumer]);
  return { consumer, got, context: { ...place.context(), consumers: [consumer] } };
}

function run({ context, consumer }: Pick<Recorder, "context" | "consumer">): Promise<JobResult> {
  const payload = { tenantId: place.tenantId, roomId: room.id, consumer: consumer.name };
  return handleTimelineConsumer(context, payload);
}

type Cursor = { position: number; is_due: boolean; attempts: number };
async function cursor(): Promise<Cursor | undefined> {
  const rows = await place.sql<Cursor>(
    `select position, next_attempt_at is not null as is_due, attempts from timeline_cursors
      where room_id = ? and consumer = 'recorder'`,
    [room.id],
  );
  return rows[0];
}

/** Runs the job until the room is read to its end, without waiting for the back-off. */
async function runToEnd(recorder: Recorder): Promise<void> {
  for (let round = 0; round < 100; round++) {
    await place.sql("update timeline_cursors set next_attempt_at = now() where next_attempt_at is not null");
    await run(recorder);
    if ((await cursor())?.is_due !== true) return;
  }
  throw new Error("the room is not read to its end");
}

test("an append marks nothing while no consumer is registered", async () => {
  await append("one");
  expect(await place.sql("select 1 as one from timeline_cursors")).toEqual([]);
});

test("a consumer receives every entry in order, over several pages, and the mark goes at the end", async () => {
  const recorder = await register();
  await append(...upTo(250).map(String));
  expect(await cursor()).toEqual({ position: 0, is_due: true, attempts: 0 });
  await runToEnd(recorder);
  expect(recorder.got.map(brief)).toEqual(upTo(250));
  expect(await cursor()).toEqual({ position: 250, is_due: false, attempts: 0 });
  const delivered = await recorder.context.metrics.consumerDelivered.get();
  expect(delivered.values).toEqual([{ labels: { consumer: "recorder" }, value: 250 }]);
});

test("a consumer receives an entry as it is now, not as it was appended", async () => {
  const recorder = await register();
  await append("before");
  await place.sql(`update timeline set content = '{"text":"after"}' where room_id = ?`, [room.id]);
  await run(recorder);
  expect(recorder.got).toMatchObject([{ type: "entry", number: 1, entry: { content: { text: "after" } } }]);
});

test("a consumer that starts with 1 receives what was there before it, one that starts now does not", async () => {
  await append("one", "two");
  const whole = await register(1);
  const later = await register("now", undefined, "later");
  await append("three");
  const fresh = await place.room(`group:fresh-${count}`);
  await run(whole);
  await run(later);
  expect(whole.got.map(brief)).toEqual([1, 2, 3]);
  expect(later.got.map(brief)).toEqual([3]);
  room = fresh;
  await append("first");
  await run(later);
  expect(later.got.map(brief)).toEqual([3, 1]);
});

test("a consumer that starts with 1 is due at once in rooms that were there before it", async () => {
  await append("one");
  const recorder = await register(1);
  expect(await cursor()).toEqual({ position: 0, is_due: true, attempts: 0 });
  await registerConsumers(place.db, [recorder.consumer]);
  await run(recorder);
  expect(recorder.got.map(brief)).toEqual([1]);
});

test("a consumer that is registered while forty append misses nothing of what it must receive", async () => {
  const appending = Promise.all(upTo(40).map((number) => append(String(number))));
  const recorder = await register(1);
  await appending;
  await run(recorder);
  expect(recorder.got.map(brief)).toEqual(upTo(40));
});

test("an entry that fails ten times is parked and reported, and the next one is delivered", async () => {
  let tries = 0;
  const recorder = await register(1, (delivery) => {
    if (brief(delivery) !== 2) return Promise.resolve();
    tries++;
    return Promise.reject(new Error("no, thanks"));
  });
  await append("one", "two", "three");
  const { retryInMs } = await run(recorder);
  expect(retryInMs).toBeGreaterThan(0);
  expect(await cursor()).toEqual({ position: 1, is_due: true, attempts: 1 });
  await runToEnd(recorder);
  expect(tries).toBe(10);
  expect(recorder.got.map(brief)).toEqual([1, 3]);
  expect(await place.sql("select consumer, room_id, number, last_number, error from parked_entries")).toEqual(
    [{ consumer: "recorder", room_id: room.id, number: 2, last_number: 2, error: "no, thanks" }],
  );
  expect((await recorder.context.metrics.consumerParked.get()).values[0]?.value).toBe(1);
});

test("a parked entry is kept for three months", async () => {
  const park = (number: number, age: string) =>
    place.sql(
      `insert into parked_entries (consumer, room_id, number, last_number, tenant_id, error, parked_at)
       values ('recorder', ?, ?, ?, ?, 'no', now() - cast(? as interval))`,
      [room.id, number, number, place.tenantId, age],
    );
  await park(1, "91 days");
  await park(2, "89 days");
  await handleMaintenance(place.context(), { task: "retention" });
  expect(await place.sql("select number from parked_entries")).toEqual([{ number: 2 }]);
});

test("a consumer that is in back-off is not called before its time, whatever is appended meanwhile", async () => {
  let tries = 0;
  const recorder = await register(1, () => {
    tries++;
    return Promise.reject(new Error("not now"));
  });
  await append("one");
  await run(recorder);
  await append("two");
  expect((await run(recorder)).retryInMs).toBeGreaterThan(0);
  expect(tries).toBe(1);
});

test("a consumer receives one gap, in its place, for what retention has cut after its cursor", async () => {
  const recorder = await register();
  await append("one", "two");
  await run(recorder);
  await append("three", "four", "five");
  await place.sql("delete from timeline where room_id = ? and number <= 4", [room.id]);
  await run(recorder);
  await append("six");
  await run(recorder);
  expect(recorder.got.map(brief)).toEqual([1, 2, "3-4", 5, 6]);
  await append("seven");
  await place.sql("delete from timeline where room_id = ?", [room.id]);
  await run(recorder);
  expect(recorder.got.map(brief)).toEqual([1, 2, "3-4", 5, 6, "7-7"]);
  expect(await cursor()).toEqual({ position: 7, is_due: false, attempts: 0 });
});

test("a gap that a consumer does not take is parked with its last number, and the cursor goes on after it", async () => {
  const recorder = await register(1, (delivery) =>
    delivery.type === "gap" ? Promise.reject(new Error("no gaps")) : Promise.resolve(),
  );
  await append("one", "two", "three", "four");
  await place.sql("delete from timeline where room_id = ? and number <= 3", [room.id]);
  await runToEnd(recorder);
  expect(recorder.got.map(brief)).toEqual([4]);
  expect(await place.sql("select number, last_number, error from parked_entries")).toEqual([
    { number: 1, last_number: 3, error: "no gaps" },
  ]);
});

test("two jobs that run at once deliver in order, and the cursor never goes back", async () => {
  const recorder = await register(1, async () => {
    await sleep(Math.random() * 2);
  });
  await append(...upTo(220).map(String));
  const positions: number[] = [];
  const done = new AbortController();
  const watching = (async () => {
    while (!done.signal.aborted) positions.push((await cursor())?.position ?? 0);
  })();
  await Promise.all([run(recorder), run(recorder)]);
  await runToEnd(recorder);
  done.abort();
  await watching;
  const first = [...new Set(recorder.got.map(brief))];
  expect(first).toEqual(upTo(220));
  expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  expect(await cursor()).toEqual({ position: 220, is_due: false, attempts: 0 });
});

test("no mark is lost when appends and the end of a room race", async () => {
  const recorder = await register();
  const done = new AbortController();
  const consuming = (async () => {
    while (!done.signal.aborted) await run(recorder);
  })();
  for (let round = 0; round < 60; round++) {
    await Promise.all([append(`${round} a`), append(`${round} b`)]);
    await until(() => recorder.got.length >= round * 2 + 2, "both are delivered", 5_000);
  }
  done.abort();
  await consuming;
  expect(recorder.got.map(brief)).toEqual(upTo(120));
  expect(await cursor()).toEqual({ position: 120, is_due: false, attempts: 0 });
});

test("the cursor of a deleted room is deleted with its mark, and nothing of the room is delivered", async () => {
  const recorder = await register();
  await append("one");
  await deleteRoom(place.db, place.tenantId, { kind: room.kind, slug: room.slug });
  expect(await run(recorder)).toEqual({ retryInMs: null });
  expect(recorder.got).toEqual([]);
  expect(await cursor()).toBeUndefined();
});

test("the rooms of a paused tenant wait", async () => {
  const recorder = await register();
  await append("one");
  await place.sql("update tenants set status = 'paused'");
  try {
    await run(recorder);
    expect(recorder.got).toEqual([]);
  } finally {
    await place.sql("update tenants set status = 'active'");
  }
  await run(recorder);
  expect(recorder.got.map(brief)).toEqual([1]);
});

test("a process that stops leaves the rest for another one, and counts no failure", async () => {
  const stopping = new AbortController();
  const recorder = await register(1, (delivery) => {
    if (brief(delivery) === 2) stopping.abort();
    if (brief(delivery) === 3) throw new Error("stopped within");
    return Promise.resolve();
  });
  await append("one", "two", "three");
  await run({ ...recorder, context: { ...recorder.context, stopping: stopping.signal } });
  expect(recorder.got.map(brief)).toEqual([1, 2]);
  expect(await cursor()).toEqual({ position: 2, is_due: true, attempts: 0 });
});

test("a job of a consumer that this process does not know leaves the mark", async () => {
  const recorder = await register();
  await append("one");
  await run({ ...recorder, context: place.context() });
  expect(await cursor()).toEqual({ position: 0, is_due: true, attempts: 0 });
});

test("rooms that are appended to are woken, and a mark that no job woke is found by the sweeper", async () => {
  const { context } = await register();
  const payload = { tenantId: place.tenantId, roomId: room.id, consumer: "recorder" };
  wakeConsumers(context, await append("one", "two"));
  expect(place.wakes.filter(({ name }) => name === "timeline-consumer")).toEqual([
    { name: "timeline-consumer", payload },
  ]);
  const sweeper = startSweeper(context, place.queues);
  try {
    await until(
      async () => (await place.queues["timeline-consumer"].getJobs(["waiting"])).length > 0,
      "the job is there",
      5_000,
    );
    const [job] = await place.queues["timeline-consumer"].getJobs(["waiting"]);
    expect(job?.data).toEqual(payload);
  } finally {
    await sweeper.stop();
  }
});
