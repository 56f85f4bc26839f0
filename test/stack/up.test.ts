import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { findFreePort } from "../../stack/machine/ports.mjs";
import { readStartedAt } from "../../stack/machine/processes.mjs";
import { makeTemporaryFolder } from "../../stack/servers/throw-away.mjs";
import { removeFolder, resolvePaths } from "../../stack/machine/paths.mjs";
import { listeningAddresses } from "../support/listening-addresses.ts";
import { makeFakeCheckout } from "./fake-checkout.ts";

const limitMs = 180_000;
const isRoot = process.getuid?.() === 0;

type Demo = { apiUrl: string; serverKey: string; pids: Record<string, number> };
type Ran = { code: number | null; output: string };

const readDemo = (checkout: string): Demo =>
  JSON.parse(readFileSync(join(checkout, ".stack", "demo.json"), "utf8")) as Demo;
const isAlive = (pid: number | undefined): boolean => pid !== undefined && readStartedAt(pid) !== undefined;

async function choosePorts(): Promise<Record<string, string>> {
  const ports: Record<string, string> = {};
  for (const name of ["API_PORT", "REALTIME_PORT", "JOBS_PORT", "SYNC_PORT"])
    ports[name] = String(await findFreePort());
  return ports;
}

/** Resolves when the program has ended and nothing holds its outputs any more. */
function run(
  checkout: string,
  args: string[],
  env: NodeJS.ProcessEnv,
  as: { uid?: number; gid?: number } = {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: checkout,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...as,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error("the condition did not come true in 30 seconds");
    await sleep(50);
  }
}

/** Processes that work in this checkout or on its data. */
function listProcesses(checkout: string): string[] {
  return readdirSync("/proc").flatMap((name) => {
    try {
      const text = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
      return text.includes(checkout) || readlinkSync(`/proc/${name}/cwd`).startsWith(checkout) ? [text] : [];
    } catch {
      return []; // Not a process, or it has ended.
    }
  });
}

describe("npm run up", () => {
  let folder: string;
  let checkout: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    folder = makeTemporaryFolder();
    // Root's closed home is the hard case: Postgres runs as another user, who may not enter it.
    checkout = makeFakeCheckout({ parent: folder, mode: 0o700 });
    env = await choosePorts();
  });

  afterEach(async () => {
    await run(checkout, ["stack/commands/down.mjs"], env);
  }, limitMs);

  afterAll(() => {
    removeFolder(resolvePaths({ root: isRoot, checkout, home: homedir(), env: process.env }).stateDir);
    removeFolder(folder);
  });

  const up = (...flags: string[]): Promise<Ran> =>
    run(checkout, ["stack/commands/up.mjs", "--detach", ...flags], env);

  test(
    "detached holds none of the caller's outputs, is ready, and says so again when asked again",
    async () => {
      const first = await up();
      expect(first.output).toMatch(
        /ready api=http:\/\/127\.0\.0\.1:\d+ socket=ws:\/\/127\.0\.0\.1:\d+\/connection\/websocket seconds=\d+\n$/,
      );
      expect(first.code).toBe(0);
      const second = await run(checkout, ["stack/commands/up.mjs"], env);
      expect(second.code).toBe(0);
      expect(second.output).toMatch(/already running[^]*\nready api=/);
      expect((await fetch(`${readDemo(checkout).apiUrl}/readyz`)).status).toBe(200);
      expect(first.output).toContain("synapse: its data is in Postgres");
      for (const port of Object.values(env)) expect(listeningAddresses(Number(port))).toEqual(["loopback"]);
      for (const name of ["demo.json", "env.json"])
        expect(statSync(join(checkout, ".stack", name)).mode & 0o777).toBe(0o600);
    },
    limitMs,
  );

  test(
    "starts a killed process again, whichever it is",
    async () => {
      await up();
      const before = readDemo(checkout).pids;
      for (const name of ["realtime", "redis"]) process.kill(before[name] ?? 0, "SIGKILL");
      for (const name of ["realtime", "redis"]) {
        await until(
          () => readDemo(checkout).pids[name] !== before[name] && isAlive(readDemo(checkout).pids[name]),
        );
      }
      await until(
        async () =>
          (await fetch(`http://127.0.0.1:${env.REALTIME_PORT}/readyz`).catch(() => undefined))?.status ===
          200,
      );
    },
    limitMs,
  );

  test(
    "recovers from a killed supervisor, and keeps its keys and data",
    async () => {
      await up();
      const { pids, serverKey } = readDemo(checkout);
      process.kill(pids.supervisor ?? 0, "SIGKILL");
      const again = await up();
      expect(again.code).toBe(0);
      expect(Object.values(pids).filter(isAlive)).toEqual([]);
      expect(readDemo(checkout).serverKey).toBe(serverKey);
    },
    limitMs,
  );

  test(
    "starts over when asked for a fresh start, also while it runs",
    async () => {
      await up();
      const before = readDemo(checkout).serverKey;
      expect((await up("--fresh")).code).toBe(0);
      expect(readDemo(checkout).serverKey).not.toBe(before);
    },
    limitMs,
  );

  test(
    "is undone by npm run down, which leaves no process, is content when nothing runs, and removes the data with --purge",
    async () => {
      await up();
      const { pids } = readDemo(checkout);
      expect(await run(checkout, ["stack/commands/down.mjs"], env)).toMatchObject({
        code: 0,
        output: expect.stringContaining("stopped"),
      });
      expect(Object.values(pids).filter(isAlive)).toEqual([]);
      expect(listProcesses(checkout)).toEqual([]);
      expect(await run(checkout, ["stack/commands/down.mjs"], env)).toMatchObject({
        code: 0,
        output: expect.stringContaining("nothing is running"),
      });
      const { stateDir, stackDir } = resolvePaths({
        root: isRoot,
        checkout,
        home: homedir(),
        env: process.env,
      });
      expect([stateDir, stackDir].map((path) => existsSync(path))).toEqual([true, true]);
      expect((await run(checkout, ["stack/commands/down.mjs", "--purge"], env)).code).toBe(0);
      expect([stateDir, stackDir].map((path) => existsSync(path))).toEqual([false, false]);
    },
    limitMs,
  );

  test(
    "in front stops everything on Ctrl-C",
    async () => {
      const child = spawn(process.execPath, ["stack/commands/up.mjs"], {
        cwd: checkout,
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      await until(() => output.includes("ready api="));
      const { pids } = readDemo(checkout);
      child.kill("SIGINT");
      expect(await ended).toBe(0);
      expect(Object.values(pids).filter(isAlive)).toEqual([]);
    },
    limitMs,
  );

  test(
    "gives its environment to the tools, which say when there is no stack",
    async () => {
      expect(await run(checkout, ["stack/commands/run-tool.mjs", "demo"], env)).toMatchObject({
        code: 2,
        output: expect.stringContaining("no stack is running: npm run up"),
      });
      await up();
      expect(await run(checkout, ["stack/commands/run-tool.mjs", "demo"], {})).toEqual({
        code: 0,
        output: `demo: ${env.API_PORT}\n`,
      });
    },
    limitMs,
  );

  test(
    "says what is wrong when a process does not come up, and leaves nothing running",
    async () => {
      const failed = await run(checkout, ["stack/commands/up.mjs", "--detach"], {
        ...env,
        BROKEN: "REALTIME_PORT",
      });
      expect(failed.code).toBe(1);
      expect(failed.output).toMatch(/failed: realtime ended while it started[^]*broken on purpose/);
      expect(listProcesses(checkout)).toEqual([]);
    },
    limitMs,
  );

  describe("with a port that another program holds", () => {
    let other: Server;

    beforeAll(async () => {
      other = createServer();
      await new Promise<void>((resolve) => other.listen(Number(env.REALTIME_PORT), "127.0.0.1", resolve));
    });

    afterAll(async () => {
      await new Promise((resolve) => other.close(resolve));
    });

    test(
      "exits 2, naming the port and how to choose another",
      async () => {
        const refused = await up();
        expect(refused.code).toBe(2);
        expect(refused.output).toContain(`port ${env.REALTIME_PORT} is taken by another program`);
        expect(refused.output).toContain("REALTIME_PORT=");
      },
      limitMs,
    );
  });

  test.each([["--bogus"], ["surplus"]])("exits with 2 for %s and prints the options", async (argument) => {
    const refused = await run(checkout, ["stack/commands/up.mjs", argument], env);
    expect(refused.code).toBe(2);
    expect(refused.output).toContain("npm run up [-- [--detach] [--fresh]]");
    const down = await run(checkout, ["stack/commands/down.mjs", argument], env);
    expect(down.code).toBe(2);
    expect(down.output).toContain("npm run down [-- --purge]");
  });
});

// Only root can become someone else; everyone else has run all of the above as an ordinary user.
(isRoot ? test : test.skip)(
  "npm run up works for an ordinary user",
  async () => {
    const folder = makeTemporaryFolder();
    const ordinary = { uid: 65_534, gid: 65_534 };
    try {
      const checkout = makeFakeCheckout({ parent: folder });
      const home = join(folder, "home");
      mkdirSync(home);
      chownTree(folder, ordinary);
      chmodSync(folder, 0o755);
      const env = { ...(await choosePorts()), HOME: home, XDG_CACHE_HOME: "", XDG_STATE_HOME: "" };
      const started = await run(checkout, ["stack/commands/up.mjs", "--detach"], env, ordinary);
      expect(started.output).toMatch(/\nready api=\S+ socket=\S+ seconds=\d+\n$/);
      expect(existsSync(join(home, ".cache", "openmeet-chat"))).toBe(true);
      expect((await run(checkout, ["stack/commands/down.mjs"], env, ordinary)).code).toBe(0);
      expect(listProcesses(folder)).toEqual([]);
    } finally {
      removeFolder(folder);
    }
  },
  300_000,
);

function chownTree(path: string, { uid, gid }: { uid: number; gid: number }): void {
  chownSync(path, uid, gid);
  if (!statSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) chownTree(join(path, name), { uid, gid });
}
