import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { withLock } from "../../stack/machine/lock.mjs";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "omc-lock-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("the lock of a process that died is taken over, and nothing is left of it", async () => {
  const path = join(folder, "x.lock");
  writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt: "another boot/1" }));
  expect(await withLock(path, () => Promise.resolve("done"))).toBe("done");
  expect(readdirSync(folder)).toEqual([]);
});

test("a lock is released when the work fails", async () => {
  const path = join(folder, "x.lock");
  await expect(withLock(path, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await withLock(path, () => sleep(1));
});
