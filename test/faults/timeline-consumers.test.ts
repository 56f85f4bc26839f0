import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { appendEntries } from "../../shared/timeline/append.ts";
import { useEnvironment } from "./environment/use-environment.ts";
import { externalEntry } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";
import type { TierProcess } from "./environment/processes.ts";

const faults = useEnvironment({
  counts: { workers: 2 },
  programs: { workers: "test/faults/environment/consumer-jobs.js" },
  sendMs: 2,
});

function workers(): [TierProcess, TierProcess] {
  return faults.environment.of("workers") as [TierProcess, TierProcess];
}

type Room = { id: string; last_number: number; position: number; is_due: boolean };
async function rooms(): Promise<Room[]> {
  return faults.environment.sql<Room>(
    `select t.room_id as id, t.last_number, k.position, k.next_attempt_at is not null as is_due
       from room_timeline t left join timeline_cursors k on k.room_id = t.room_id and k.consumer = 'recorder'
      where t.last_number > 0`,
  );
}

/** The numbers that the consumer received of a room, in the order in which it received them. */
async function recorded(roomId: string): Promise<number[]> {
  const rows = await faults.environment.sql<{ number: number }>(
    "select number from recorded where room_id = ? order by place",
    [roomId],
  );
  return rows.map(({ number }) => number);
}

async function expectReadToTheEnd(limitMs: number): Promise<Room[]> {
  await until(
    async () => (await rooms()).every((room) => room.position === room.last_number && !room.is_due),
    "every cursor is at the last number",
    limitMs,
  );
  const read = await rooms();
  for (const { id, last_number } of read) {
    const all = Array.from({ length: last_number }, (_, index) => index + 1);
    expect([...new Set(await recorded(id))]).toEqual(all);
  }
  return read;
}

test("a consumer receives every entry at least once and in order while its processes are killed", async () => {
  const load = await faults.openLoad({ name: "consumed", rooms: 8, people: 6 });
  const talk = load.startTraffic(60, faults.random);
  for (let kill = 0; kill < 5; kill++) {
    await sleep(1_500);
    await faults.random.pick(workers()).kill();
  }
  await talk.stop();
  await faults.expectKept(load, 60_000);
  const read = await expectReadToTheEnd(20_000);
  expect(read.length).toBeGreaterThanOrEqual(8);
  expect(read.reduce((sum, room) => sum + room.last_number, 0)).toBeGreaterThan(300);
}, 150_000);

test("an entry whose delivery was not noted before the process died is delivered again", async () => {
  const load = await faults.openLoad({ name: "died", rooms: 1, people: 1 });
  const [person = "", place = ""] = [load.people[0], load.rooms[0]];
  await load.post(place, person);
  await expectReadToTheEnd(20_000);
  const [before] = await faults.environment.sql<{ id: string; last_number: number }>(
    `select t.room_id as id, t.last_number from room_timeline t join rooms r on r.id = t.room_id
      where r.kind || ':' || r.slug = ?`,
    [place],
  );
  if (!before) throw new Error("the room has no timeline");
  await Promise.all(workers().map((worker) => worker.stop()));
  const { db } = faults.environment;
  const entries = Array.from({ length: 6 }, (_, index) => externalEntry(`text ${index}`));
  await db.transaction((trx) => appendEntries(trx, [{ roomId: before.id, entries }]));
  const lastBeforeDeath = before.last_number + 3;
  const [worker] = workers();
  worker.launch({ DIE_AT_NUMBER: String(lastBeforeDeath) });
  await until(() => worker.ends.some(({ signal }) => signal === "SIGKILL"), "the process died", 20_000);
  await worker.ready();
  await expectReadToTheEnd(20_000);
  const numbers = await recorded(before.id);
  expect(numbers.filter((number) => number === lastBeforeDeath)).toHaveLength(2);
}, 120_000);
