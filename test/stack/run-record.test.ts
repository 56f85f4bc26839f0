import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { recordProcess, type ProcessRecord } from "../../stack/machine/processes.mjs";
import { readRun, stopLeftovers, writeRun } from "../../stack/supervisor/run-record.mjs";

const dead: ProcessRecord = { pid: process.pid, startedAt: "another boot/1" };
let stackDir: string;
let child: ChildProcess;

beforeEach(async () => {
  stackDir = mkdtempSync(join(tmpdir(), "omc-run-"));
  child = spawn("sleep", ["60"]);
  await once(child, "spawn");
});

afterEach(async () => {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(stackDir, { recursive: true });
});

const record = (): ProcessRecord => {
  const made = recordProcess(child.pid ?? 0);
  if (made === undefined) throw new Error("the child does not run");
  return made;
};

test("processes that a dead supervisor left running are stopped", async () => {
  const ended = once(child, "exit");
  writeRun(stackDir, { supervisor: dead, status: "ready", children: { redis: record() } });
  expect(await stopLeftovers(stackDir)).toEqual(["redis"]);
  expect((await ended)[1]).toBe("SIGTERM");
  expect(readRun(stackDir)).toBeUndefined();
});

test("a process that only has the pid of one of ours is left alone", async () => {
  writeRun(stackDir, {
    supervisor: dead,
    status: "ready",
    children: { redis: { ...record(), startedAt: "another boot/2" } },
  });
  expect(await stopLeftovers(stackDir)).toEqual([]);
  expect(child.signalCode).toBeNull();
});

test("the processes of a running supervisor are left alone", async () => {
  writeRun(stackDir, { supervisor: record(), status: "ready", children: { redis: record() } });
  expect(await stopLeftovers(stackDir)).toEqual([]);
  expect(readRun(stackDir)).toBeDefined();
});
