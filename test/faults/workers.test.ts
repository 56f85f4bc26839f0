import { expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { useHouse } from "../support/faults.ts";

const faults = useHouse({ counts: { workers: 2, sync: 2 }, sendMs: 2 });

test("everything that people say is told to everybody, once, in order", async () => {
  const crowd = await faults.gather({ name: "calm", rooms: 6, people: 6 });
  const talk = crowd.talk(60, faults.random);
  await sleep(4_000);
  await talk.stop();
  const { accepted } = await faults.expectKept(crowd, 10_000);
  expect(accepted).toBeGreaterThan(200);
});
