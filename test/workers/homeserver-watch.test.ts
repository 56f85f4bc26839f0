import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { ensureHomeserver } from "../../shared/db/homeservers/homeservers.ts";
import { readConfig } from "../../shared/platform/config.ts";
import { closeServer } from "../../shared/platform/http/health.ts";
import { createLog } from "../../shared/platform/log.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { addLook, statusOf, watchHomeserver, type Findings } from "../../workers/matrix/homeserver/watch.ts";
import { NOT_ANSWERING } from "../../workers/matrix/homeserver/breaker.ts";
import { openHomeserverPool, type HomeserverPool } from "../../workers/matrix/homeserver/pool.ts";
import { createConnection } from "../../workers/matrix/http/client.ts";
import { createWorkerMetrics } from "../../workers/runtime/metrics.ts";
import { openTestDatabase, type TestDatabase } from "../support/db.ts";
import { until } from "../support/wait.ts";

let database: TestDatabase;
const servers: Server[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map(closeServer));
});
afterAll(() => database.close());

/** A server that gives fixed answers, with the paths that were asked. */
async function openServer(
  answer: (path: string, response: ServerResponse) => void,
): Promise<{ url: string; asked: string[]; server: Server }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://x").pathname;
    asked.push(`${request.method ?? ""} ${path}`);
    answer(path, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  const address = server.address();
  return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`, asked, server };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const CALM: Findings = { unanswered: null, refused: null, upSinceMs: 1_000 };

test("a homeserver is down after two unanswered looks in a row, since the first of them, and up with one answer", () => {
  const once = addLook(CALM, "no connection", 5_000);
  expect(statusOf(once).state).toBe("up");
  expect(statusOf(addLook(addLook(once, null, 7_000), "no connection", 9_000)).state).toBe("up");
  const twice = addLook(once, "no answer within 2 s", 7_000);
  expect(statusOf(twice)).toEqual({
    state: "down",
    since: new Date(5_000),
    detail: "The homeserver does not answer: no answer within 2 s.",
  });
  expect(statusOf(addLook(twice, null, 9_000)).state).toBe("up");
});

test("no answer, a broken connection and a status of 500 or more count as unanswered; any other status is an answer", async () => {
  const cases = [
    { open: () => openServer(() => undefined), state: "down" },
    { open: () => openServer((_path, response) => response.socket?.destroy()), state: "down" },
    {
      open: () => openServer((_path, response) => void response.writeHead(502).end("<html>")),
      state: "down",
    },
    {
      open: () =>
        openServer((_path, response) => {
          send(response, 503, { errcode: "M_UNKNOWN" });
        }),
      state: "down",
    },
    {
      open: () =>
        openServer((_path, response) => {
          send(response, 404, { errcode: "M_UNRECOGNIZED" });
        }),
      state: "up",
    },
    {
      open: () =>
        openServer((_path, response) => {
          send(response, 429, { errcode: "M_LIMIT_EXCEEDED" });
        }),
      state: "up",
    },
    {
      open: () =>
        openServer((_path, response) => {
          send(response, 200, { versions: [] });
        }),
      state: "up",
    },
  ];
  const watches = await Promise.all(
    cases.map(async ({ open, state }) => {
      const { url, asked } = await open();
      const request = createConnection({ baseUrl: url, accessToken: null })({});
      const homeserver = {
        credentialVariable: "SYNAPSE_AS_TOKEN",
        checkCredential: () => Promise.resolve(),
      } as const;
      return { watch: watchHomeserver({ request, homeserver, onChange: () => undefined }), asked, state };
    }),
  );
  const isSeen = () =>
    watches.every(({ watch, asked, state }) => asked.length >= 3 && watch.status().state === state);
  await until(isSeen, "each is seen as it is", 30_000);
  for (const { watch } of watches) watch.stop();
}, 40_000);

async function openPool(
  url: string,
  mode: "appservice" | "admin",
): Promise<{
  pool: HomeserverPool;
  id: string;
  failures: () => Promise<number>;
}> {
  const config = readConfig({
    DATABASE_URL: database.url,
    REDIS_URL: "redis://127.0.0.1:1",
    SYNAPSE_URL: url,
    SYNAPSE_SERVER_NAME: `${mode}-${url.slice(-5)}.test`,
    MATRIX_MODE: mode,
    SYNAPSE_AS_TOKEN: "a-token-of-the-tests",
    SYNAPSE_REGISTRATION_SECRET: "a-secret-of-the-tests",
    SEAL_KEYS: `t:${Buffer.alloc(32, 7).toString("base64")}`,
  });
  const { db } = database;
  const { id } = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const metrics = createWorkerMetrics(createMetrics());
  const log = createLog({ level: "silent", tier: "test" });
  const pool = openHomeserverPool({
    db,
    sealKeys: config.sealKeys,
    metrics,
    log,
    onRecovered: () => undefined,
  });
  const failures = async () =>
    (await metrics.matrixFailures.get()).values.reduce((sum, { value }) => sum + value, 0);
  return { pool, id, failures };
}

test.each(["appservice", "admin"] as const)(
  "every failed call in mode %s is counted: of accounts, logins and our own questions too",
  async (mode) => {
    const failed: string[] = [];
    const { url } = await openServer((path, response) => {
      if (path.endsWith("/versions")) {
        send(response, 200, { versions: [] });
        return;
      }
      failed.push(path);
      send(response, 400, { errcode: "M_BAD_JSON", error: "refused" });
    });
    const { pool, id, failures } = await openPool(url, mode);
    const homeserver = await pool.get(id);
    const person = "@omc_a:hs.test";
    const work = [
      async () => (await homeserver.as(person))({ method: "GET", path: "/joined_rooms" }),
      () => homeserver.ensureAccount(person),
      () => homeserver.removeAccount(person),
      () => homeserver.login(person),
    ];
    for (const call of work) await expect(call()).rejects.toThrow();
    pool.close();
    await until(async () => (await failures()) === failed.length, "all are counted");
    const ends = ["/register", ...(mode === "admin" ? ["/login"] : ["/joined_rooms", "/account/deactivate"])];
    for (const end of ends) expect(failed.filter((path) => path.endsWith(end))).not.toEqual([]);
    expect(failed.length).toBeGreaterThanOrEqual(work.length);
  },
);

test("while a homeserver is down, no call of any kind goes to it, and one answer ends that", async () => {
  let isBroken = true;
  const { url, asked } = await openServer((path, response) => {
    if (isBroken) send(response, 503, {});
    else send(response, 200, path.endsWith("/versions") ? { versions: [] } : { user_id: "@x:y" });
  });
  const { pool, id } = await openPool(url, "appservice");
  const homeserver = await pool.get(id);
  await until(() => pool.openBreakers() === 1, "it is down", 20_000);
  expect(pool.statuses()).toMatchObject([
    [id, { state: "down", detail: expect.stringContaining("status 503") }],
  ]);
  const before = asked.filter((path) => !path.endsWith("/versions")).length;
  const calls = [
    homeserver.ensureAccount("@omc_a:hs.test"),
    homeserver.removeAccount("@omc_a:hs.test"),
    (await homeserver.as("@omc_a:hs.test"))({ method: "POST", path: "/rooms/x/join" }),
  ];
  for (const call of calls) await expect(call).rejects.toMatchObject({ errcode: NOT_ANSWERING });
  expect(asked.filter((path) => !path.endsWith("/versions"))).toHaveLength(before);
  isBroken = false;
  await until(() => pool.openBreakers() === 0, "it is up", 20_000);
  await homeserver.ensureAccount("@omc_a:hs.test");
  pool.close();
}, 60_000);
