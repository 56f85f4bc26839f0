import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { killService } from "./environment/environment.ts";
import { useEnvironment } from "../support/faults.ts";

const faults = useEnvironment();

const postgresService = () => faults.environment.servers.services["postgres"];

for (const [how, signal] of [
  ["stopped as an operator does", "SIGINT"],
  ["stopped at once as in a crash", "SIGQUIT"],
] as const) {
  test(`when Postgres is ${how} and started again, what was accepted is delivered`, async () => {
    const load = await faults.gather({ name: signal.toLowerCase(), rooms: 5, people: 5 });
    const talk = load.talk(40, faults.random);
    await sleep(1_500);
    await killService(postgresService(), signal);
    await sleep(2_000);
    const backAtMs = performance.now();
    await postgresService()?.start();
    await sleep(2_000);
    await talk.stop();
    await faults.expectKept(load, 60_000);
    // A post was refused for a moment, and only with the status that says: try again.
    const refused = new Set(load.posts.map(({ firstStatus }) => firstStatus));
    expect([...refused].filter((status) => status !== 202 && status !== 503)).toEqual([]);
    faults.report(`until all is delivered after Postgres was ${how}`, faults.lastDeliveryMs(load) - backAtMs);
    expect(faults.environment.processes.flatMap(({ ends }) => ends)).toEqual([]);
  }, 120_000);
}

test("when Postgres brings nothing for a while, everything goes on afterwards", async () => {
  const load = await faults.gather({ name: "still", rooms: 5, people: 5 });
  const { links } = faults.environment;
  const talk = load.talk(40, faults.random);
  await sleep(1_500);
  const frozen = [links.apiPostgres, links.workersPostgres, links.syncPostgres, links.realtimePostgres];
  for (const link of frozen) link.freeze();
  await sleep(7_000);
  const backAtMs = performance.now();
  for (const link of frozen) link.heal();
  await sleep(1_500);
  await talk.stop();
  await faults.expectKept(load, 60_000);
  faults.report("until all is delivered after Postgres went on", faults.lastDeliveryMs(load) - backAtMs);
}, 120_000);

test("connections to Postgres that look open and bring nothing for ever are replaced", async () => {
  const load = await faults.gather({ name: "half-open", rooms: 5, people: 5 });
  const { links } = faults.environment;
  const talk = load.talk(30, faults.random);
  await sleep(1_500);
  const sinceMs = performance.now();
  for (const link of [links.apiPostgres, links.workersPostgres, links.syncPostgres]) link.abandon();
  await sleep(3_000);
  await talk.stop();
  await faults.expectKept(load, 60_000);
  faults.report(
    "until all is delivered after connections to Postgres died unseen",
    faults.lastDeliveryMs(load) - sinceMs,
  );
}, 150_000);
