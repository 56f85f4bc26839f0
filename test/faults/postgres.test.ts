import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { killService } from "./environment/environment.ts";
import { useEnvironment } from "./environment/use-environment.ts";

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
