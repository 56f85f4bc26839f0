import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { openLogFile, readLastLines } from "../../stack/machine/log.mjs";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "omc-log-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("a log keeps its newest lines in two files of limited size", () => {
  const log = openLogFile(join(folder, "api.log"), { maxBytes: 100 });
  for (let line = 0; line < 100; line += 1) log.write(`line ${line}\n`);
  log.close();
  expect(readdirSync(folder).sort()).toEqual(["api.log", "api.log.1"]);
  expect(statSync(join(folder, "api.log")).size + statSync(join(folder, "api.log.1")).size).toBeLessThan(250);
  expect(readFileSync(join(folder, "api.log"), "utf8")).toMatch(/line 99\n$/);
});

test("a log is read by its owner alone, and its end can be shown", () => {
  const log = openLogFile(join(folder, "api.log"));
  log.write("one\ntwo\nthree\n");
  log.close();
  expect(statSync(join(folder, "api.log")).mode & 0o777).toBe(0o600);
  expect(readLastLines(join(folder, "api.log"), 2)).toBe("two\nthree");
});
