import { afterEach, expect, test } from "@jest/globals";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readDistFolder } from "../support/stack-servers.ts";

const LIMITS = { everyMs: 100, limitMs: 2_000 };
const PROGRAM = join(import.meta.dirname, "../support/watchdog-child.mjs");

let child: ChildProcess | null = null;
let output = "";
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  child = null;
});

/** Starts a program with a watchdog. */
async function start(options: { execArgv?: string[] } = {}): Promise<ChildProcess> {
  output = "";
  child = fork(PROGRAM, [resolve(readDistFolder()), JSON.stringify(LIMITS)], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
    execArgv: options.execArgv ?? [],
  });
  child.stdout?.on("data", (data: Buffer) => (output += data.toString()));
  await once(child, "message");
  return child;
}

async function expectAlive(program: ChildProcess): Promise<void> {
  const answered = once(program, "message");
  program.send("answer");
  expect(await answered).toEqual(["alive", undefined]);
}

test.each([
  ["counts for ever", "hang", /^countForEver \(watchdog-child\.mjs:\d+\)$/],
  ["awaits settled promises for ever", "promise", /./],
])("a program that %s is killed, and its log says where it hangs", async (_, command, where) => {
  const program = await start();
  program.send(command);
  expect(await once(program, "close")).toEqual([null, "SIGKILL"]);
  const lines = output.trim().split("\n");
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: 60,
    tier: "test",
    pid: program.pid,
    limitMs: LIMITS.limitMs,
    where: expect.arrayContaining([expect.stringMatching(where)]),
    msg: expect.stringContaining("the event loop hangs"),
  });
});

test("a program that was frozen for longer than the limit survives", async () => {
  const program = await start();
  for (let freeze = 0; freeze < 2; freeze++) {
    program.kill("SIGSTOP");
    await sleep(LIMITS.limitMs + 500);
    program.kill("SIGCONT");
    await expectAlive(program);
  }
  // As long as a watchdog that counts wrongly would need.
  await sleep(LIMITS.limitMs + 500);
  await expectAlive(program);
  expect(output).toBe("");
});

test("a program with nothing left to do exits", async () => {
  const program = await start();
  program.disconnect();
  expect(await once(program, "exit")).toEqual([0, null]);
  expect(output).toBe("");
});

test("a program whose watchdog was stopped exits, too", async () => {
  const program = await start();
  const stopped = once(program, "message");
  program.send("stop");
  expect(await stopped).toEqual(["stopped", undefined]);
  program.disconnect();
  expect(await once(program, "exit")).toEqual([0, null]);
});

test("a program under a debugger may wait at a breakpoint without limit", async () => {
  const program = await start({ execArgv: ["--inspect=127.0.0.1:0"] });
  program.send("hang");
  await sleep(2 * LIMITS.limitMs);
  expect([program.exitCode, program.signalCode]).toEqual([null, null]);
});
