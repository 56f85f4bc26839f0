import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { readCopy, readStages } from "../../stack/image/dockerfile.mjs";
import { openTestDatabase } from "../support/db.ts";
import { readRoot, root } from "./compose-file.ts";

/** The stages of the Dockerfile: what each copies from where, and as whom the last command runs. */
const stages = readStages(readRoot("Dockerfile")).map(({ from, name, steps }) => ({
  from,
  name,
  copies: steps.filter(({ instruction }) => instruction === "COPY").map((step) => readCopy(step)),
  user: steps.findLast(({ instruction }) => instruction === "USER")?.text ?? null,
}));
const fromCheckout = stages.flatMap(({ copies }) =>
  copies.filter(({ from }) => from === null).flatMap(({ sources }) => sources),
);

describe("the Dockerfile", () => {
  test.each(fromCheckout)("copies what the checkout has and .dockerignore lets through: %s", (source) => {
    expect(existsSync(join(root, source))).toBe(true);
    const allowed = readRoot(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"));
    expect(allowed.map((line) => line.slice(1).replace(/\/$/, ""))).toContain(source.split("/")[0]);
  });

  test("copies between stages that exist", () => {
    const names = stages.map(({ name }) => name);
    const used = stages.flatMap(({ copies }) => copies.flatMap(({ from }) => from ?? []));
    expect(used.filter((name) => !names.includes(name))).toEqual([]);
  });

  test("does not run as root", () => {
    expect(stages.at(-1)?.user).toBe("node");
  });

  test("builds on Node 24 and on a Debian whose glibc uWebSockets.js needs", () => {
    expect(stages.map(({ from }) => from)).toEqual(stages.map(() => "node:24-trixie-slim"));
  });
});

describe("the image's steps, in a plain folder", () => {
  let folder = "";

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "omc-image-"));
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** Copies as a stage does, from the checkout only. */
  const copyInto = (stage: string): string => {
    const target = join(folder, stage);
    for (const copy of stages.find(({ name }) => name === stage)?.copies ?? []) {
      for (const source of copy.from === null ? copy.sources : []) {
        mkdirSync(dirname(join(target, source)), { recursive: true });
        cpSync(join(root, source), join(target, source), { recursive: true });
      }
    }
    return target;
  };

  const run = (cwd: string, command: string, args: string[]): { status: number | null; output: string } => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 240_000 });
    return { status, output: `${stdout}${stderr}` };
  };

  test("compile what was copied, and start the api with nothing but the packages for production", async () => {
    const build = copyInto("build");
    symlinkSync(join(root, "node_modules"), join(build, "node_modules"));
    expect(run(build, "npm", ["run", "build"])).toMatchObject({ status: 0 });

    const app = copyInto("packages");
    expect(run(app, "npm", ["ci", "--omit=dev", "--prefer-offline"])).toMatchObject({
      status: 0,
    });
    cpSync(join(build, "dist"), join(app, "dist"), { recursive: true });
    expect(existsSync(join(app, "node_modules", "jest"))).toBe(false);

    // Every program loads: it fails only when it reads its environment.
    for (const program of ["api/main", "realtime/main", "workers/main", "migrations/main"]) {
      const { output } = run(app, "env", [
        "-i",
        `PATH=${process.env["PATH"] ?? ""}`,
        "node",
        `dist/${program}.js`,
      ]);
      expect(output).toContain("DATABASE_URL");
    }
    const database = await openTestDatabase({ isEmpty: true });
    const migrated = run(app, "env", [`DATABASE_URL=${database.url}`, "node", "dist/migrations/main.js"]);
    expect(migrated).toMatchObject({ status: 0 });
    expect(await answerOfApi(app, database.url)).toEqual({ live: true });
    await database.close();
  }, 300_000);
});

/** The response at /livez of an api that runs in a folder with the test's servers and a database. */
async function answerOfApi(cwd: string, databaseUrl: string): Promise<unknown> {
  const port = "23117";
  const child = spawn(process.execPath, ["dist/api/main.js"], {
    cwd,
    stdio: "ignore",
    env: {
      DATABASE_URL: databaseUrl,
      REDIS_URL: process.env["TEST_REDIS_URL"],
      SYNAPSE_URL: process.env["TEST_SYNAPSE_URL"],
      SYNAPSE_SERVER_NAME: process.env["TEST_SYNAPSE_SERVER_NAME"],
      SYNAPSE_AS_TOKEN: process.env["TEST_SYNAPSE_AS_TOKEN"],
      SEAL_KEYS: `k1:${Buffer.alloc(32, 7).toString("base64")}`,
      API_PORT: port,
    },
  });
  const exit = once(child, "exit");
  try {
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/livez`).catch(() => null);
      if (answer) return await answer.json();
      if (child.exitCode !== null) throw new Error(`the api ended with ${String(child.exitCode)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    child.kill("SIGTERM");
    await exit;
  }
}
