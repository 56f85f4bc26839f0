import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { Fault } from "../../stack/machine/fault.mjs";
import { openPaths } from "../../stack/machine/paths.mjs";
import { askRedis } from "../../stack/servers/redis/redis-wire.mjs";
import { startThrowAwayServers, withoutServers } from "../../stack/servers/throw-away.mjs";

/**
 * Each source of each server is started once and asked. A source that this machine does not have (no root, no Debian, no
 * mirror that answers) must say why and what to do instead; what was seen is printed either way.
 */
type Server = "postgres" | "redis" | "synapse";
type Servers = Awaited<ReturnType<typeof startThrowAwayServers>>;

const SOURCE_LIMIT_MS = 600_000;

const ask: Record<Server, (servers: Servers) => Promise<string>> = {
  postgres: async ({ databaseUrl }) => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      const { rows } = await client.query<{ version: string }>("select version()");
      return rows[0]?.version ?? "";
    } finally {
      await client.end();
    }
  },
  redis: async ({ redisUrl }) => {
    const [pong, info] = await askRedis(redisUrl, [["PING"], ["INFO", "server"]]);
    expect(pong).toBe("PONG");
    return /(?:valkey|redis)_version:(\S+)/.exec(String(info))?.[0] ?? "";
  },
  synapse: async ({ synapseUrl }) => {
    const answer = await fetch(new URL("/_matrix/federation/v1/version", synapseUrl));
    const versions = await fetch(new URL("/_matrix/client/versions", synapseUrl));
    expect(versions.status).toBe(200);
    return answer.ok ? await answer.text() : "Synapse";
  },
};

const urlsOf: Record<Server, (servers: Servers) => NodeJS.ProcessEnv> = {
  postgres: ({ databaseUrl }) => ({ DATABASE_URL: databaseUrl }),
  redis: ({ redisUrl }) => ({ REDIS_URL: redisUrl }),
  synapse: ({ synapseUrl, synapseServerName, asToken }) => ({
    SYNAPSE_URL: synapseUrl,
    SYNAPSE_SERVER_NAME: synapseServerName,
    ...(asToken === undefined ? {} : { SYNAPSE_AS_TOKEN: asToken }),
  }),
};

/** Null where the source is not to be had here, which it must have said clearly. */
async function start(server: Server, source: string, more: Parameters<typeof startThrowAwayServers>[0] = {}) {
  const lines: string[] = [];
  const startedAtMs = performance.now();
  const log = (line: string): void => void lines.push(line);
  try {
    const env = { ...withoutServers(process.env), [`STACK_${server.toUpperCase()}`]: source, ...more.env };
    const servers = await startThrowAwayServers({ ...more, only: [server], log, env });
    return { servers, lines, seconds: Math.round((performance.now() - startedAtMs) / 1_000) };
  } catch (error) {
    expectClearFault(error, server, source);
    process.stdout.write(`source: ${server} ${source}: not here: ${(error as Error).message}\n`);
    return null;
  }
}

function expectClearFault(error: unknown, server: Server, source: string): void {
  if (!(error instanceof Fault)) throw error;
  expect(error.exitCode).toBe(1);
  expect(error.message).toMatch(
    new RegExp(`^no ${server} to start:\\n(.*\\n)*.*\\b${source || "apt"}: .{10,}`),
  );
  expect(error.advice).toContain("or name a running server");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Asks a started server, also through its URL, and stops it. */
async function useAndStop(
  server: Server,
  source: string,
  started: NonNullable<Awaited<ReturnType<typeof start>>>,
) {
  const { servers, lines, seconds } = started;
  try {
    const version = await ask[server](servers);
    expect(version).not.toBe("");
    expect(lines.join("\n")).toMatch(new RegExp(`^${server}: using ${source}: `, "m"));
    process.stdout.write(`source: ${server} ${source}: ${seconds} s: ${version}\n`);
    const named = await start(server, "url", { env: urlsOf[server](servers) });
    expect(named?.lines.join("\n")).toMatch(new RegExp(`^${server}: using url: `, "m"));
    expect(named?.servers.services).toEqual({});
    await named?.servers.stop();
    expect(await ask[server](servers)).toBe(version);
  } finally {
    const pids = Object.values(servers.pids);
    await servers.stop();
    expect(pids).toHaveLength(1);
    expect(pids.filter(isAlive)).toEqual([]);
  }
}

describe.each(["postgres", "redis", "synapse"] as const)("%s", (server) => {
  test(
    "starts from its embedded copy",
    async () => {
      const started = await start(server, "embedded");
      expect(started).not.toBeNull();
      if (started) await useAndStop(server, "embedded", started);
    },
    SOURCE_LIMIT_MS,
  );
});

describe.each(["postgres", "redis"] as const)("%s", (server) => {
  // In this order: what apt installs is the system's own from then on.
  test.each(["apt", "system"])(
    "starts from %s, or says why not",
    async (source) => {
      const started = await start(server, source);
      if (started) await useAndStop(server, source, started);
    },
    SOURCE_LIMIT_MS,
  );
});

describe("synapse without PyPI and with empty caches", () => {
  let cacheDir: string;
  beforeAll(() => {
    // Beside the real one: a folder that other accounts may enter, with room for a Debian root.
    cacheDir = mkdtempSync(join(dirname(openPaths().cacheDir), "openmeet-chat-test-sources-"));
    process.env["PIP_NO_INDEX"] = "1";
  });
  afterAll(() => {
    delete process.env["PIP_NO_INDEX"];
    rmSync(cacheDir, { recursive: true, force: true });
  });

  test(
    "comes from a Debian root as root on Debian, and says why not elsewhere",
    async () => {
      const started = await start("synapse", "", { cacheDir });
      if (!started) return;
      const source = started.lines.some((line) => line.startsWith("synapse: using system: "))
        ? "system"
        : "apt";
      expect(started.lines.join("\n")).toMatch(/^synapse: not embedded: .{10,}/m);
      await useAndStop("synapse", source, started);
      if (source === "apt")
        expect(existsSync(join(cacheDir, "synapse-debian-psycopg2", "complete"))).toBe(true);
    },
    SOURCE_LIMIT_MS,
  );
});
