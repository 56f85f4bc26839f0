import { expect, test } from "@jest/globals";
import { execFileSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { killService } from "./environment/environment.ts";
import type { LoadSubscriber } from "./environment/subscriber.ts";
import { useEnvironment } from "./environment/use-environment.ts";
import { until } from "../support/wait.ts";

const faults = useEnvironment();

const postgresService = () => faults.environment.servers.services["postgres"];

for (const [how, signal] of [
  ["stopped by an operator", "SIGINT"],
  ["stopped at once, as in a crash", "SIGQUIT"],
] as const) {
  test(`when Postgres is ${how} and started again, every accepted message is delivered`, async () => {
    const load = await faults.openLoad({ name: signal.toLowerCase(), rooms: 5, people: 5 });
    const traffic = load.startTraffic(40, faults.random);
    await sleep(1_500);
    await killService(postgresService(), signal);
    await sleep(2_000);
    const backAtMs = performance.now();
    await postgresService()?.start();
    await sleep(2_000);
    await traffic.stop();
    await faults.expectKept(load, 60_000);
    // A refused post got the status that asks for a retry, and no other.
    const refused = new Set(load.posts.map(({ firstStatus }) => firstStatus));
    expect([...refused].filter((status) => status !== 202 && status !== 503)).toEqual([]);
    faults.report(`until all is delivered after Postgres was ${how}`, faults.lastMs(load, "seen", backAtMs));
    expect(faults.environment.processes.flatMap(({ ends }) => ends)).toEqual([]);
  }, 120_000);
}

test("delivery goes on after Postgres has sent nothing for a while", async () => {
  const load = await faults.openLoad({ name: "still", rooms: 5, people: 5 });
  const { links } = faults.environment;
  const traffic = load.startTraffic(40, faults.random);
  await sleep(1_500);
  const frozen = [links.apiPostgres, links.workersPostgres, links.syncPostgres, links.realtimePostgres];
  for (const link of frozen) link.freeze();
  await sleep(7_000);
  const backAtMs = performance.now();
  for (const link of frozen) link.heal();
  await sleep(1_500);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  faults.report("until all is delivered after Postgres went on", faults.lastMs(load, "seen", backAtMs));
}, 120_000);

test("connections to Postgres that stay open and receive nothing are replaced", async () => {
  const load = await faults.openLoad({ name: "half-open", rooms: 5, people: 5 });
  const { links } = faults.environment;
  const traffic = load.startTraffic(30, faults.random);
  await sleep(1_500);
  const sinceMs = performance.now();
  for (const link of [links.apiPostgres, links.workersPostgres, links.syncPostgres]) link.abandon();
  await sleep(3_000);
  await traffic.stop();
  await faults.expectKept(load, 60_000);
  faults.report(
    "until all is delivered after connections to Postgres died unseen",
    faults.lastMs(load, "seen", sinceMs),
  );
}, 150_000);

/** Stops Postgres, does something with the folder of its data, and starts it again. */
async function withData(work: (folder: string) => void): Promise<void> {
  const service = postgresService();
  const folder = readlinkSync(`/proc/${String(service?.pid)}/cwd`);
  await killService(service, "SIGINT");
  work(folder);
  await service?.start();
}

test("after Postgres was restored from a backup, rooms have new epochs, what Matrix kept comes back, and people talk on", async () => {
  const load = await faults.openLoad({ name: "backup", rooms: 1, people: 2 });
  const [room = "", person = ""] = [load.rooms[0], load.people[0]];
  const sayThree = async (what: string) => {
    for (const count of [1, 2, 3]) await load.post(room, person, `${what} ${count}`);
  };
  await sayThree("kept");
  await faults.expectKept(load, 60_000);
  await withData((folder) => execFileSync("cp", ["-a", folder, `${folder}-backup`]));
  await sayThree("lost");
  await faults.expectKept(load, 60_000);

  const { processes } = faults.environment;
  await Promise.all(processes.map((process) => process.stop()));
  await withData((folder) => {
    execFileSync("rm", ["-r", folder]);
    execFileSync("mv", [`${folder}-backup`, folder]);
  });
  const epochs = () =>
    faults.environment.sql<{ epoch: string }>(
      "select t.epoch from room_timeline t join rooms r on r.id = t.room_id where r.slug = 'backup-r0'",
    );
  const before = await epochs();
  expect(JSON.parse(await faults.environment.admin("restored", "--json"))).toEqual({
    rooms: expect.any(Number),
  });
  expect(await epochs()).not.toEqual(before);
  await Promise.all(processes.map((process) => process.start()));

  const texts = async () =>
    (
      await faults.environment.sql<{ text: string }>(
        `select e.content ->> 'text' as text from timeline e join rooms r on r.id = e.room_id
          where r.slug = 'backup-r0' and e.type = 'message.created' order by e.number`,
      )
    ).map(({ text }) => text);
  const words = (what: string) => [1, 2, 3].map((count) => `${what} ${count}`);
  await until(async () => (await texts()).length === 6, "what Matrix kept is back", 60_000);
  expect(await texts()).toEqual([...words("kept"), ...words("lost")]);
  // A socket of before loads the room again; a new one follows it.
  const loads = ({ byRoom }: LoadSubscriber) => byRoom.get(room)?.loads ?? 0;
  await until(() => load.subscribers.every((one) => loads(one) > 0), "the sockets load the room", 60_000);
  const fresh = await load.subscribe(person);
  const from = load.posts.length;
  await sayThree("new");
  const ids = load.posts.slice(from).map(({ id }) => id);
  const received = () => (fresh.byRoom.get(room)?.received ?? []).slice(-3).map(({ id }) => id);
  await until(() => received().join() === ids.join(), "the new messages are received", 30_000);
  expect(await texts()).toEqual([...words("kept"), ...words("lost"), ...words("new")]);
}, 180_000);
