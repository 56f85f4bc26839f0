import { Worker } from "bullmq";
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { findDueWork } from "../../shared/db/due-work.ts";
import { findRoom, insertRoom, type Room } from "../../shared/db/rooms/rooms.ts";
import { enqueueUserEvents, lockUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import { ensureUsers } from "../../shared/db/users/users.ts";
import { newId } from "../../shared/platform/ids.ts";
import { JOBS } from "../../shared/queues/index.ts";
import { QUEUE_PREFIX, roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { counter, createMetrics } from "../../shared/platform/metrics.ts";
import { asConnection, createWake, jobOptions, removeStaleKey } from "../../shared/queues/open.ts";
import { openWorkerRedis, type Redis } from "../../shared/platform/redis.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { makeMemberCountsDue } from "../../shared/timeline/member-counts.ts";
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

test("a key whose job is completed is removed too, and one whose job waits, runs or is delayed stays", async () => {
  const queue = place.queues[NAME];
  const room = await place.room("group:states");
  const id = JOBS[NAME].deduplicationId(payloadOf(room));
  const remove = () => removeStaleKey(place.redis, queue, id);
  expect(await remove()).toBeNull();
  await wakeFor(room);
  expect(await remove()).toBeNull();
  let finish: () => void = () => undefined;
  let runs = 0;
  work(async () => {
    runs++;
    await new Promise<void>((resolve) => (finish = resolve));
  });
  await until(() => runs === 1, "it runs", WAIT_MS);
  expect(await remove()).toBeNull();
  finish();
  await until(async () => (await queue.getCompletedCount()) === 1, "it is completed", WAIT_MS);
  await worker?.close();
  const options = jobOptions(NAME, payloadOf(room), { reschedule: false });
  await queue.add(NAME, payloadOf(room), { ...options, delay: 3_600_000 });
  expect(await remove()).toBeNull();

  const [completed] = await queue.getCompleted();
  await place.redis.set(queue.toKey(`de:${id}`), completed?.id ?? "");
  expect(await remove()).toBe(completed?.id);
  expect(await place.redis.exists(queue.toKey(`de:${id}`))).toBe(0);
});

test("no key is removed while a thousand jobs run and end, each woken again while it runs", async () => {
  const queue = place.queues[NAME];
  const payloads = Array.from({ length: 500 }, () => ({ tenantId: place.tenantId, roomId: newId() }));
  const wake = () =>
    Promise.all(
      payloads.map((payload) => queue.add(NAME, payload, jobOptions(NAME, payload, { reschedule: true }))),
    );
  await wake();
  let runs = 0;
  worker = new Worker(NAME, () => Promise.resolve(void runs++), {
    connection: asConnection(connection),
    prefix: QUEUE_PREFIX,
    concurrency: 20,
  });
  const removed: (string | null)[] = [];
  const check = async () => {
    const ids = payloads.map((payload) => JOBS[NAME].deduplicationId(payload));
    removed.push(...(await Promise.all(ids.map((id) => removeStaleKey(place.redis, queue, id)))));
  };
  await until(
    async () => {
      await check();
      if (runs < 1_000) await wake();
      const { waiting: waits = 0, active = 0 } = await queue.getJobCounts("waiting", "active");
      return runs >= 1_000 && waits + active === 0;
    },
    "all jobs have ended",
    WAIT_MS * 2,
  );
  expect(removed.filter((job) => job !== null)).toEqual([]);
});

test("the sweeper finds each tenant's work though another has more due than it finds at once", async () => {
  const busy = await Promise.all(
    Array.from({ length: 12 }, (_, n) => place.room(`group:busy-${n}`, [`busy-${n}`])),
  );
  const other = newId();
  await place.sql(
    `insert into tenants (id, slug, homeserver_id, sealed_token_keys)
     select ?, 'other', homeserver_id, sealed_token_keys from tenants where id = ?`,
    [other, place.tenantId],
  );
  await place.sql("insert into observers (id, tenant_id, matrix_user_id) values (?, ?, '@other:test')", [
    newId(),
    other,
  ]);
  const address = { kind: "group", slug: "quiet" } as const;
  await insertRoom(place.db, other, address, {
    name: "q",
    topic: null,
    avatar: null,
    visibility: "private",
    join: "invite",
    posting: "everyone",
    slowModeS: 0,
  });
  await ensureUsers(place.db, other, ["quiet"]);
  const room = await findRoom(place.db, other, address);
  const ids = [...busy.map(({ id }) => id), room?.id ?? ""];
  // The other tenant's is due last.
  const due = (tenantId: string) =>
    tenantId === other ? "now() - interval '1 minute'" : "now() - interval '1 hour'";
  for (const tenantId of [place.tenantId, other]) {
    const at = due(tenantId);
    await place.sql(`update users set next_attempt_at = ${at} where tenant_id = ?`, [tenantId]);
    await place.sql(
      `update rooms set next_attempt_at = ${at}, members_next_attempt_at = ${at} where tenant_id = ? and id = any(?)`,
      [tenantId, ids],
    );
    await place.sql(
      `update room_outbox set next_attempt_at = ${at} where tenant_id = ? and room_id = any(?)`,
      [tenantId, ids],
    );
    await place.sql(
      `update room_timeline set gap_from = 'a', gap_to = 'b', gap_next_attempt_at = ${at} where tenant_id = ? and room_id = any(?)`,
      [tenantId, ids],
    );
  }
  const found = await findDueWork(place.db, 5);
  const ofOther = found.filter(({ payload }) => payload.tenantId === other);
  expect(
    ofOther
      .map(({ name, payload }) => ("subject" in payload ? `${name} ${payload.subject}` : name))
      .toSorted(),
  ).toEqual(["membership", "outbound-message", "provisioning room", "provisioning user", "room-sync"]);
  await place.sql("update tenants set status = 'paused' where id = ?", [other]);
  await place.sql("update room_timeline set gap_from = null, gap_to = null, gap_next_attempt_at = null");
});

test("each tenant's user events come by turns, its own in their order", async () => {
  const [busy, quiet] = [newId(), newId()];
  const names = Array.from({ length: 21 }, (_, index) => `turn-${String(index).padStart(2, "0")}`);
  const ids = [...(await ensureUsers(place.db, place.tenantId, names)).values()].map(({ id }) => id);
  const event = (tenantId: string, userId: string) => ({
    ...{ tenantId, userId, kind: "user.gone" as const, roomId: null },
  });
  await place.db.transaction(async (trx) => {
    const ofBusy = ids.slice(0, 20).map((id) => event(busy, id));
    await enqueueUserEvents(trx, [...ofBusy, event(quiet, ids[20] ?? "")]);
    const users = (await lockUserEvents(trx, 5)).map(({ user_id: id }) => id);
    expect(users.toSorted()).toEqual([...ids.slice(0, 4), ids[20]].toSorted());
    expect(users.filter((id) => id !== ids[20])).toEqual(ids.slice(0, 4));
    await trx.raw("delete from notices");
  });
});

test("the sweeper does not wake work that waits in this process for a slot of its tenant", async () => {
  const [kept, other] = [
    await place.room("group:kept", ["ada"]),
    await place.room("group:not-kept", ["ada"]),
  ];
  for (const room of [kept, other]) await place.accept(room, "ada", "hello");
  sweeper = startSweeper(
    place.context(),
    place.queues,
    (_, payload) => "roomId" in payload && payload.roomId === kept.id,
  );
  await until(async () => (await waiting()).includes(other.id), "the other's job is there", WAIT_MS);
  expect(await waiting()).not.toContain(kept.id);
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

/** Whether a room's stream has an entry. */
async function isPublished(room: Room, number: number): Promise<boolean> {
  const [row] = await place.sql<{ epoch: string }>("select epoch from room_timeline where room_id = ?", [
    room.id,
  ]);
  const id = `${number}-0`;
  return (await place.redis.xrange(roomStreamKey(room.id, row?.epoch ?? ""), id, id)).length > 0;
}

test("the sweeper publishes a timeline that is not published", async () => {
  const room = await place.room("group:unpublished");
  await place.db.transaction((trx) =>
    appendEntries(trx, [{ roomId: room.id, entries: [externalEntry("hello")] }]),
  );
  sweeper = startSweeper(place.context(), place.queues);
  await until(() => isPublished(room, 1), "it is published", WAIT_MS);
});

test("the sweeper appends and publishes a member count that is due", async () => {
  const room = await place.room("group:counted");
  await place.sql("update rooms set member_count = 150 where id = ?", [room.id]);
  await place.db.transaction((trx) => makeMemberCountsDue(trx, place.tenantId, [room.id]));
  sweeper = startSweeper(place.context(), place.queues);
  await until(() => isPublished(room, 1), "it is published", WAIT_MS);
  expect(await place.sql("select content from timeline where room_id = ?", [room.id])).toEqual([
    { content: { changed: { members: "150" } } },
  ]);
});
