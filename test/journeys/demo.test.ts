import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "demo-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("the demo prints how to start a stack when none runs", async () => {
  await expect(journey.runTool(["bench/demo.js"], folder)).rejects.toThrow(
    /\(2\): no stack is running: npm run up/,
  );
});

test("the demo runs a conversation that every socket receives once and in order, and prints it", async () => {
  const { server } = await journey.createTenant("demo");
  const demo = {
    apiUrl: journey.apiUrl,
    socketUrl: `ws://127.0.0.1:${journey.tier("realtime").port}/connection/websocket`,
    serverKey: server.credential,
    operatorKey: "not used",
    pids: {},
  };
  await mkdir(join(folder, ".stack"));
  await writeFile(join(folder, ".stack", "demo.json"), JSON.stringify(demo));

  const printed = (await journey.runTool(["bench/demo.js", "--messages", "16"], folder))
    .trimEnd()
    .split("\n");

  expect(printed.at(-1)).toBe("demo: accepted=28 delivered=28 lost=0 doubled=0 reordered=0 recovery_ms=0");
  const people = printed.filter((line) => line.startsWith("── as "));
  expect(people.length).toBeGreaterThanOrEqual(5);
  expect(printed.filter((line) => line.includes("Hello from a plain Matrix client")).length).toBeGreaterThan(
    1,
  );
  expect(printed.filter((line) => line.includes("(deleted by bob: advertisement)")).length).toBeGreaterThan(
    1,
  );
  expect(printed.filter((line) => /Doors open at seven\. \(edited\)/.test(line)).length).toBeGreaterThan(1);
  expect(printed.filter((line) => /I bring two boards\. 👍 2/.test(line)).length).toBeGreaterThan(1);
  const asSeenBy = (who: string) => {
    const from = printed.indexOf(`── as ${who} saw it ──`);
    return printed.slice(from, printed.indexOf("", from)).join("\n");
  };
  expect(asSeenBy("eli")).toContain("ada: @Eli, can you bring a clock? (mentions you)");
  expect(asSeenBy("dee")).toMatch(/ada: @Eli, can you bring a clock\?\n/);
  expect(asSeenBy("ada")).toContain("eli to ada: Yes, the digital one. (mentions you)");
  expect(asSeenBy("ada")).toContain("bob: Tonight: *blitz*, then `chess960`.");
  expect(printed).toContain("Matrix has 16 of 16 messages.");
  for (const what of ["accepted", "delivered", "sent \\(on Matrix\\)"])
    expect(printed).toContainEqual(expect.stringMatching(new RegExp(`^  ${what} +\\d+\\.\\d +\\d+\\.\\d$`)));
}, 120_000);
