import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { removeData } from "../../stack/servers/remove-data.mjs";
import { ensureSealKeys } from "../../stack/supervisor/stack-env.mjs";

describe("a fresh start", () => {
  let folder: string;
  let paths: { stateDir: string; stackDir: string };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "omc-remove-data-"));
    paths = { stateDir: join(folder, "state"), stackDir: join(folder, "stack") };
    for (const path of [join(paths.stateDir, "redis"), paths.stackDir]) mkdirSync(path, { recursive: true });
    writeFileSync(join(paths.stackDir, "demo.json"), "{}");
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const sealKeys = (): string => ensureSealKeys({ stateDir: paths.stateDir, env: {} });
  const remove = (env: NodeJS.ProcessEnv): void => {
    removeData({ paths, env, log: () => undefined });
  };

  test("begins with empty data and other keys that seal secrets", () => {
    const before = sealKeys();
    remove({});
    expect(existsSync(join(paths.stateDir, "redis"))).toBe(false);
    expect(existsSync(join(paths.stackDir, "demo.json"))).toBe(false);
    expect(sealKeys()).not.toBe(before);
  });

  test("keeps the keys that seal the secrets of a database that it keeps", () => {
    const before = sealKeys();
    remove({ DATABASE_URL: "postgres://openmeet:password@db.example.org/openmeet" });
    expect(existsSync(join(paths.stateDir, "redis"))).toBe(false);
    expect(sealKeys()).toBe(before);
  });
});
