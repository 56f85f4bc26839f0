import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import type { TierProcess } from "./environment/processes.ts";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

const faults = useEnvironment({ counts: { workers: 2, sync: 2 }, sendMs: 2 });

/** A worker's rooms are taken over after its lease (6 s) and the next run of a sweeper (1 s); `sent` follows within 2 s. */
const TAKEN_OVER_MS = 10_000;

function workers(): [TierProcess, TierProcess] {
  return faults.environment.of("workers") as [TierProcess, TierProcess];
}

/** The process that reads the tenant's rooms, and the idle one. */
async function readers(): Promise<{ reading: TierProcess; idle: TierProcess }> {
  const [first, second] = faults.environment.of("sync") as [TierProcess, TierProcess];
  let count = 0;
  await until(
    async () => {
      count = await first.metric("omc_observers");
      return count + (await second.metric("omc_observers")) === 1;
    },
    "one process reads",
    15_000,
  );
  return count === 1 ? { reading: first, idle: second } : { reading: second, idle: first };
}

test("every socket receives every message once and in order while a worker is killed every three seconds", async () => {
  const load = await faults.openLoad({ name: "killed", rooms: 12, people: 8 });
  const traffic = load.startTraffic(80, faults.random);
  let killedAtMs = 0;
  for (let kill = 0; kill < 4; kill++) {
    await sleep(3_000);
    killedAtMs = performance.now();
    await faults.random.pick(workers()).kill();
  }
  await traffic.stop();
  const { accepted } = await faults.expectKept(load, 60_000);
  expect(accepted).toBeGreaterThan(800);
  // A room may have had the leases of several killed workers. After the last one, only one lease has to end.
  const recoveryMs = faults.lastMs(load, "seen", killedAtMs);
  faults.report("until Matrix has all after the last of four killed workers", recoveryMs);
  expect(recoveryMs).toBeLessThan(await faults.limitMs(TAKEN_OVER_MS));
}, 150_000);

test("a room goes on after its worker was killed five times", async () => {
  const load = await faults.openLoad({ name: "poor", rooms: 1, people: 2 });
  faults.environment.standIn.faults.add({ path: /\/send\//, fault: { do: "delay", ms: 60 } });
  for (const worker of workers()) worker.isSupervised = false;
  const traffic = load.startTraffic(20, faults.random);
  for (let kill = 0; kill < 5; kill++) {
    await sleep(700);
    await Promise.all(workers().map((worker) => worker.kill()));
    await workers()[0].start();
  }
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  const [{ failed }] = (await faults.environment.sql<{ failed: number }>(
    "select count(*) as failed from messages where status = 'dead' and error_code not in ('deleted', 'target_deleted')",
  )) as [{ failed: number }];
  expect(failed).toBe(0);
}, 150_000);

test("a worker that sleeps longer than its lease does no harm when it wakes up", async () => {
  const load = await faults.openLoad({ name: "sleepy", rooms: 4, people: 4 });
  faults.environment.standIn.faults.add({ path: /\/send\//, fault: { do: "delay", ms: 60 } });
  const traffic = load.startTraffic(60, faults.random);
  await sleep(1_500);
  const [sleeper] = workers();
  sleeper.signal("SIGSTOP");
  await sleep(8_500);
  sleeper.signal("SIGCONT");
  await sleep(1_500);
  faults.environment.standIn.faults.clear();
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  expect(await sleeper.metric("omc_lease_lost_total", 'lease="room"')).toBeGreaterThan(0);
  faults.report("longest wait while a worker sleeps", faults.longestMs(load, "seen", 0));
}, 150_000);

test("a message whose API process dies between commit and publishing is published by a sweeper and has one number", async () => {
  const load = await faults.openLoad({ name: "unwoken", rooms: 1, people: 2 });
  const [room = "", person = ""] = [load.rooms[0], load.people[0]];
  await load.post(room, person);
  const [api] = faults.environment.of("api") as [TierProcess];
  await api.stop();
  await api.start({ KILL_POINT: "between commit and publish" });
  // The wake-up leaves before the commit, so no worker finds the message.
  faults.environment.links.apiRedis.cut();
  const sinceMs = performance.now();
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  // It died before it answered: the repeated request got the number that the first one was given.
  expect(api.ends.at(-1)).toEqual({ code: null, signal: "SIGKILL" });
  const rows = await faults.environment.sql(
    "select 1 from messages m join rooms r on r.id = m.room_id where r.slug = 'unwoken-r0'",
  );
  expect(rows).toHaveLength(2);
  const publishedMs = faults.firstMs(load, "delivered", sinceMs);
  faults.report("publishing of a message whose API process died", publishedMs);
  expect(publishedMs).toBeLessThan(await faults.limitMs(2_000));
  const sentMs = faults.firstMs(load, "seen", sinceMs);
  faults.report("the way to Matrix of a message without a wake-up", sentMs);
  expect(sentMs).toBeLessThan(await faults.limitMs(4_000));
});

test("a message whose worker dies after the homeserver accepted it is on Matrix once", async () => {
  const load = await faults.openLoad({ name: "unmarked", rooms: 1, people: 2 });
  const [room = "", person = ""] = [load.rooms[0], load.people[0]];
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  const [dying, other] = workers();
  await other.stop();
  await dying.stop();
  // A reader of the event would settle the message too, so no process reads now.
  for (const reader of faults.environment.of("sync")) await reader.stop();
  await dying.start({ KILL_POINT: "between homeserver answer and mark" });
  const sentBefore = faults.environment.standIn.state.sends.length;
  await load.post(room, person);
  await until(() => dying.ends.at(-1)?.signal === "SIGKILL", "the worker died", 10_000);
  await until(
    () => faults.environment.standIn.state.sends.length - sentBefore === 2,
    "it was sent again",
    15_000,
  );
  const [first, second] = faults.environment.standIn.state.sends.slice(sentBefore);
  expect(second).toMatchObject({
    transactionId: first?.transactionId,
    eventId: first?.eventId,
    isRepeat: true,
  });
  for (const reader of faults.environment.of("sync")) await reader.start();
  await faults.expectKept(load, 60_000);
}, 120_000);

test("what a reader saw before it died is published by another process", async () => {
  const load = await faults.openLoad({ name: "unpublished", rooms: 1, people: 2 });
  const [room = "", person = ""] = [load.rooms[0], load.people[0]];
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  for (const reader of faults.environment.of("sync")) {
    await reader.stop();
    await reader.start({ KILL_POINT: "between timeline commit and publish" });
  }
  const sinceMs = performance.now();
  await load.post(room, person);
  await faults.expectKept(load, 60_000);
  expect(faults.environment.of("sync").some(({ ends }) => ends.at(-1)?.signal === "SIGKILL")).toBe(true);
  const sentMs = faults.firstMs(load, "seen", sinceMs);
  faults.report("sent when the reader dies before publishing", sentMs);
  expect(sentMs).toBeLessThan(await faults.limitMs(TAKEN_OVER_MS));
}, 120_000);

test("workers that receive SIGTERM during a conversation hand over at once and end without an error", async () => {
  const load = await faults.openLoad({ name: "handed", rooms: 8, people: 6 });
  const traffic = load.startTraffic(100, faults.random);
  await sleep(1_000);
  const sinceMs = performance.now();
  const { reading, idle } = await readers();
  const ends = await Promise.all([workers()[0].stop(), reading.stop()]);
  for (const end of ends) {
    expect(end).toMatchObject({ code: 0, signal: null });
    expect(end.ms).toBeLessThan(10_000);
  }
  await sleep(1_500);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  expect(await idle.metric("omc_observers")).toBe(1);
  const waitMs = faults.longestMs(load, "seen", sinceMs);
  faults.report("longest wait over a hand-over", waitMs);
  // No room waits for the end of a lease (6 s). What waits beside it is what 100 messages a second leave behind.
  expect(waitMs).toBeLessThan(await faults.limitMs(5_500));
  expect(await workers()[1].metric("omc_jobs_total", 'outcome="stalled"')).toBe(0);
}, 120_000);

test("another process reads on within eight seconds when the one that reads from Matrix is killed", async () => {
  const load = await faults.openLoad({ name: "reader", rooms: 4, people: 4 });
  const { reading } = await readers();
  const traffic = load.startTraffic(40, faults.random);
  await sleep(1_000);
  const sinceMs = performance.now();
  await reading.kill();
  await sleep(9_000);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  const firstMs = faults.firstMs(load, "seen", sinceMs);
  faults.report("first message seen after the reader was killed", firstMs);
  expect(firstMs).toBeLessThan(await faults.limitMs(TAKEN_OVER_MS));
}, 120_000);
