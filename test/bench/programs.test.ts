import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { startThrowAwayServers } from "../../stack/servers/throw-away.mjs";
import { runProgram } from "../support/journey/tiers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

const run = (program: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> =>
  runProgram([`bench/${program}.js`, ...args], { PATH: process.env["PATH"], ...env }, folder);

describe.each([
  { program: "burst", option: "people" },
  { program: "capacity", option: "messages" },
  { program: "latency", option: "messages" },
  { program: "outage", option: "messages" },
  { program: "pipeline", option: "messages" },
  { program: "reads", option: "messages" },
  { program: "synapse-rate", option: "messages" },
])("$program", ({ program, option }) => {
  test("prints what it accepts when an option is wrong", async () => {
    const wrong = run(program, [`--${option}`, "0"]);
    await expect(wrong).rejects.toThrow(
      new RegExp(`\\(2\\): --${option} takes a whole number from \\d+ to \\d+\\n$`),
    );
    await expect(run(program, ["--mesages", "9"])).rejects.toThrow(/\(2\): Unknown option '--mesages'/);
  });

  test("prints how to start a stack when none runs", async () => {
    await expect(run(program, [])).rejects.toThrow(
      /\(2\): no stack (in mode appservice )?is running: npm run up\n$/,
    );
  });
});

test("the pipeline's bench counts every message, and the statements and commands of each", async () => {
  const servers = await startThrowAwayServers({ only: ["postgres", "redis"] });
  try {
    const printed = await run(
      "pipeline",
      ["--messages", "300", "--rounds", "1", "--rate", "40", "--seconds", "2", "--json"],
      { DATABASE_URL: servers.databaseUrl, REDIS_URL: servers.redisUrl },
    );
    const { rounds, open } = JSON.parse(printed) as {
      rounds: Record<string, number>[];
      open: Record<string, number>;
    };
    const [round = {}] = rounds;
    expect(open).toMatchObject({ rate: 40, seconds: 2, messages: 80 });
    const names = [
      ...["bullmq", "insert", "accept", "perInsert", "drain", "acceptBusy", "endToEnd"],
      ...["sqlPerMessage", "redisPerMessage"],
    ];
    expect(Object.keys(round)).toEqual(names);
    // A room's messages share statements and commands, and none costs nothing.
    for (const name of ["sqlPerMessage", "redisPerMessage"]) {
      expect(round[name]).toBeGreaterThan(0.05);
      expect(round[name]).toBeLessThan(20);
    }
  } finally {
    await servers.stop();
  }
}, 120_000);

test("the bench of reads measures what a person reads, beside a bare query", async () => {
  const servers = await startThrowAwayServers({ only: ["postgres", "redis"] });
  try {
    const printed = await run(
      "reads",
      [
        "--members",
        "50",
        "--rooms",
        "10",
        "--messages",
        "500",
        "--reactions",
        "100",
        "--calls",
        "10",
        "--json",
      ],
      { DATABASE_URL: servers.databaseUrl, REDIS_URL: servers.redisUrl },
    );
    const { times } = JSON.parse(printed) as { times: { what: string; p50: number; p99: number }[] };
    expect(times.map(({ what }) => what)).toEqual([
      ...["select 1", "me/rooms", "a page", "around", "unread totals", "members", "directory"],
    ]);
    for (const { p50, p99 } of times) expect(p99).toBeGreaterThanOrEqual(p50);
  } finally {
    await servers.stop();
  }
}, 120_000);
