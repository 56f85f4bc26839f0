import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { openSynapseData } from "../../stack/servers/synapse/synapse-data.mjs";

describe("where Synapse keeps its data", () => {
  let dataDir: string;

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "omc-synapse-data-"));
  });
  afterEach(() => {
    rmSync(dataDir, { recursive: true });
  });

  type Given = Partial<Parameters<typeof openSynapseData>[0]>;
  const open = (given: Given = {}): Promise<{ name: string }> =>
    openSynapseData({
      dataDir,
      env: {},
      durable: true,
      hasDriver: true,
      findDatabase: () => Promise.resolve(undefined),
      log: () => undefined,
      ...given,
    });
  const mustNotAsk = (): Promise<undefined> => Promise.reject(new Error("Postgres is not needed"));

  test("is SQLite where Postgres is named by a URL, and stays so", async () => {
    expect(await open()).toEqual({ name: "sqlite3", args: { database: join(dataDir, "homeserver.db") } });
    expect(await open({ findDatabase: mustNotAsk })).toMatchObject({ name: "sqlite3" });
  });

  test.each<[string, Given]>([
    ["it is thrown away", { durable: false }],
    ["Synapse has no driver", { hasDriver: false }],
    ["it is asked for", { env: { STACK_SYNAPSE_DATA: "sqlite" } }],
  ])("is SQLite, without waiting for Postgres, where %s", async (_, given) => {
    expect(await open({ ...given, findDatabase: mustNotAsk })).toMatchObject({ name: "sqlite3" });
  });

  test("is where an older version of the stack left it", async () => {
    writeFileSync(join(dataDir, "homeserver.db"), "");
    expect(await open({ findDatabase: mustNotAsk })).toMatchObject({ name: "sqlite3" });
  });

  const asked = { env: { STACK_SYNAPSE_DATA: "postgres" } };
  test.each<[string, Given, string, string]>([
    ["an unknown place", { env: { STACK_SYNAPSE_DATA: "paper" } }, '"paper"', "set it to postgres or sqlite"],
    ["Postgres, beside one that a URL names", asked, "DATABASE_URL", "STACK_SYNAPSE_DATA=sqlite"],
    ["Postgres, without a driver", { ...asked, hasDriver: false }, "psycopg2", "STACK_SYNAPSE"],
  ])("cannot be %s, and the error says what to do", async (_, given, message, advice) => {
    await expect(open(given)).rejects.toMatchObject({
      message: expect.stringContaining(message),
      advice: expect.stringContaining(advice),
    });
  });

  test("does not change later: another choice is refused", async () => {
    await open();
    await expect(open(asked)).rejects.toMatchObject({
      message: "this Synapse keeps its data in SQLite, and STACK_SYNAPSE_DATA is postgres",
      advice: expect.stringContaining("--fresh"),
      exitCode: 2,
    });
  });
});
