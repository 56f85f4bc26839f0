import type { Server } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { closeServer, openHealthServer } from "../../shared/platform/http/health.ts";
import { createHttpServer, findRepeatedHeader, listen } from "../../shared/platform/http/http-server.ts";
import { openApiWorld, type ApiWorld, type Ask, type TestTenant } from "../support/api.ts";
import { openRaw, sendRaw } from "../support/raw-http.ts";
import { until } from "../support/wait.ts";

let world: ApiWorld;
let tenant: TestTenant;
let ada: Ask;
let key: string;
const ROOM = "/v1/rooms/group/chess";

beforeAll(async () => {
  world = await openApiWorld();
  tenant = await world.tenant("door");
  key = (await tenant.key("server")).key;
  await tenant.server("PUT", ROOM, { body: { name: "Chess", members: [{ user: "ada" }] } });
  ada = await tenant.user("ada");
});
afterAll(() => world.close());

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
};
const apiPort = () => Number(new URL(world.url).port);

describe("a path", () => {
  test.each([
    "/METRICS",
    "/metrics/",
    "/metrics/x",
    "/%6detrics",
    "//metrics",
    "/metrics;x",
    "/livez/anything",
    "/Livez",
    "/readyz/",
    "/READYZ",
    "/V1/me/rooms",
    "/v1/me/rooms/",
    "/v1/ME/rooms",
    "/v1/me/%72ooms",
    "/v1/rooms/group/chess/",
    "/Docs",
    "/docs/OPENAPI.json",
    "/docs/openapi.json/",
    "/docs/start.js/x",
    "/ADMIN/login",
    "/admin/Login",
    "/admin/login/",
    "/admin/logout/x",
  ])("other than the documented one is unknown: %s", async (path) => {
    for (const ask of [world.as(null), ada, tenant.server])
      expect(await ask("GET", path)).toMatchObject({ status: 404, body: { code: "not_found" } });
  });

  test.each([
    ["POST", "/metrics", "GET, HEAD, OPTIONS"],
    ["PUT", "/livez", "GET, HEAD, OPTIONS"],
    ["DELETE", "/readyz", "GET, HEAD, OPTIONS"],
    ["POST", "/v1/me/rooms", "GET, HEAD, OPTIONS"],
    ["POST", ROOM, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"],
    ["HEAD", "/v1/rooms/direct", "OPTIONS, PUT"],
    ["GET", "/v1/users/ada/tokens", "DELETE, OPTIONS, POST"],
    ["PATCH", `${ROOM}/messages`, "GET, HEAD, OPTIONS, POST"],
    ["POST", "/docs", "GET, HEAD, OPTIONS"],
    ["POST", "/docs/openapi.json", "GET, HEAD, OPTIONS"],
    ["PUT", "/docs/swagger-ui.css", "GET, HEAD, OPTIONS"],
    ["POST", "/admin", "GET, HEAD, OPTIONS"],
    ["PUT", "/admin/login", "GET, HEAD, OPTIONS, POST"],
    ["GET", "/admin/logout", "OPTIONS, POST"],
  ])("refuses %s of %s with its methods, for everybody", async (method, path, allow) => {
    for (const ask of [world.as(null), tenant.server]) {
      const refused = await ask(method, path);
      expect([refused.status, refused.headers.get("allow")]).toEqual([405, allow]);
      if (method !== "HEAD") expect(refused.body).toMatchObject({ code: "method_not_allowed", status: 405 });
    }
    const options = await world.as(null)("OPTIONS", path);
    expect([options.status, options.headers.get("allow")]).toEqual([204, allow]);
  });

  test("of a folder answers with a slash behind it", async () => {
    expect((await world.as(null)("GET", "/docs/")).status).toBe(200);
    expect((await world.as(null)("GET", "/admin/")).status).toBe(401);
  });
});

test.each([
  ["if-none-match", "*"],
  ["if-none-match", '"a", W/"b"'],
  ["if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"],
])("a condition that the API does not know changes no answer: %s %s", async (name, value) => {
  const headers = { [name]: value };
  expect(await ada("GET", "/v1/me/rooms", { headers })).toMatchObject({ status: 200, body: { next: null } });
  for (const path of ["/livez", "/readyz", "/docs/openapi.json"])
    expect(await world.as(null)("GET", path, { headers })).toMatchObject({
      status: 200,
      body: expect.any(Object),
    });
});

describe("a header", () => {
  const request = (...lines: string[]) =>
    sendRaw(apiPort(), [...lines, "Connection: close", "", ""].join("\r\n"));
  const authorization = () => `Authorization: Bearer ${key}`;

  test.each([
    ["Host", () => ["GET /livez HTTP/1.1", "Host: a", "Host: b"]],
    ["Host, twice the same", () => ["GET /livez HTTP/1.1", "Host: a", "host: a"]],
    ["Authorization", () => [`GET ${ROOM} HTTP/1.1`, "Host: a", authorization(), "Authorization: Bearer x"]],
    [
      "Content-Type",
      () => [
        ...[`PUT ${ROOM} HTTP/1.1`, "Host: a", authorization()],
        ...["Content-Type: application/json", "Content-Type: text/plain", "Content-Length: 0"],
      ],
    ],
    [
      "Origin",
      () => ["GET /livez HTTP/1.1", "Host: a", "Origin: https://a.example", "Origin: https://b.example"],
    ],
    [
      "Idempotency-Key",
      () => [`POST ${ROOM}/messages HTTP/1.1`, "Host: a", "Idempotency-Key: a", "Idempotency-Key: b"],
    ],
    ["Content-Length", () => ["POST /livez HTTP/1.1", "Host: a", "Content-Length: 0", "Content-Length: 1"]],
    ["Host that is missing", () => ["GET /livez HTTP/1.1"]],
  ])("that is sent twice is refused: %s", async (_title, lines) => {
    expect(await request(...lines())).toMatch(/^HTTP\/1\.1 400 /);
  });

  test("that is sent once, and a list that is sent twice, are read", async () => {
    expect(await request("GET /livez HTTP/1.1", "Host: a", "Prefer: a", "Prefer: wait=1")).toMatch(/ 200 OK/);
    expect(findRepeatedHeader(["Accept", "a", "Accept", "b", "Host", "c"])).toBeNull();
  });
});

describe("a connection", () => {
  const HEAD = "GET /livez HTTP/1.1\r\nHost: a\r\n";
  const UNFINISHED = [
    "",
    HEAD,
    `PUT /v1/users/ada HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"display`,
    `PUT /v1/users/ada HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{`,
    // The second request on a connection.
    `${HEAD}\r\n${HEAD}`,
  ];

  test("that does not finish its request ends within seconds, at the API and where only health is served", async () => {
    const health = await openHealthServer({
      port: 0,
      host: undefined,
      metrics: createMetrics(),
      readiness: () => Promise.resolve({ ready: true, degraded: [] }),
    });
    const clients = [apiPort(), portOf(health)].flatMap((port) =>
      UNFINISHED.map((text) => openRaw(port, text).endedAfterMs()),
    );
    // 10 s for the headers, 13 s for all, and a second until the check.
    for (const endedAfterMs of await Promise.all(clients)) {
      expect(endedAfterMs).toBeGreaterThan(8_000);
      expect(endedAfterMs).toBeLessThan(29_000);
    }
    await closeServer(health);
  }, 60_000);

  test("whose client does not read its answer ends", async () => {
    const big = Buffer.alloc(64 * 1_024 * 1_024);
    let answers = 0;
    const server = createHttpServer(
      (_request, response) => {
        answers++;
        response.end(big);
      },
      { maxConnections: 10, answerMs: 500, answerBytesPerMs: 1e6, onFull: () => undefined },
    );
    await listen(server, { port: 0, host: "127.0.0.1" });
    const { socket } = openRaw(portOf(server), `${HEAD}\r\n`);
    socket.pause();
    await until(async () => answers === 1 && (await countConnections(server)) === 0, "the server ended it");
    socket.destroy();
    await closeServer(server);
  });

  test("whose client reads a long answer slowly may take the time that its bytes need", async () => {
    let answers = 0;
    const server = createHttpServer(
      (_request, response) => {
        answers++;
        response.end(Buffer.alloc(64 * 1_024 * 1_024));
      },
      // 64 MiB at 64 KiB a millisecond: a second more than the answer alone may take.
      { maxConnections: 10, answerMs: 1, answerBytesPerMs: 64 * 1_024, onFull: () => undefined },
    );
    await listen(server, { port: 0, host: "127.0.0.1" });
    const startedAtMs = performance.now();
    const { socket } = openRaw(portOf(server), `${HEAD}\r\n`);
    socket.pause();
    await until(async () => answers === 1 && (await countConnections(server)) === 0, "the server ended it");
    // The first check finds the answer, the third is the first after the time that its bytes need.
    expect(performance.now() - startedAtMs).toBeGreaterThan(2_000);
    socket.destroy();
    await closeServer(server);
  });

  test("beyond the limit of an API process is answered 503, and far beyond it is cut", async () => {
    const small = await openApiWorld({ env: { API_CONNECTIONS: "2", BIND_ADDRESS: "127.0.0.1" } });
    const port = Number(new URL(small.url).port);
    const waiting = [openRaw(port, HEAD), openRaw(port, HEAD)];
    const refused: string[] = [];
    const tryOnce = async () => {
      const answer = await sendRaw(port, `${HEAD}\r\n`);
      refused.push(answer);
      return answer;
    };
    await until(async () => (await tryOnce()).startsWith("HTTP/1.1 503 "), "the process is full");
    expect(refused.at(-1)).toMatch(/connection: close/i);
    expect(refused.at(-1)).toMatch(/retry-after: 1/i);
    expect(refused.at(-1)).toContain('"code":"unavailable"');
    const beyond = openRaw(port, "");
    await until(async () => (await sendRaw(port, `${HEAD}\r\n`)) === "", "another one is cut");
    for (const { socket } of [...waiting, beyond]) socket.destroy();
    await until(async () => (await tryOnce()).startsWith("HTTP/1.1 200 "), "there is room again");
    // A connection that only waits for its next request makes room too.
    const idle = [openRaw(port, `${HEAD}\r\n`), openRaw(port, `${HEAD}\r\n`)];
    await Promise.all(idle.map(({ answered }) => answered));
    await until(async () => (await tryOnce()).startsWith("HTTP/1.1 200 "), "the idle ones made room");
    const metrics = await sendRaw(port, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(Number(/^omc_http_connections_refused_total (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(0);
    for (const { socket } of idle) socket.destroy();
    await small.close();
  });
});

function countConnections(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

describe("an avatar", () => {
  test.each([
    "https://example.org/a b.png",
    "https://ada:secret@example.org/a.png",
    "https:\\\\example.org\\a.png",
  ])("that browsers read differently is refused with its path: %s", async (avatar) => {
    for (const [method, path, body] of [
      ["PUT", "/v1/users/eve", { avatar }],
      ["PUT", "/v1/rooms/group/pictured", { name: "Pictured", avatar }],
      ["PATCH", ROOM, { avatar }],
    ] as const) {
      const refused = await tenant.server(method, path, { body });
      expect(refused).toMatchObject({ status: 422, body: { code: "invalid" } });
      const { errors } = refused.body as { errors: { path: string }[] };
      expect([...new Set(errors.map((error) => error.path))]).toEqual(["avatar"]);
    }
    expect((await tenant.server("GET", "/v1/users/eve")).status).toBe(404);
  });

  test("is described by the pattern that checks it", async () => {
    const document = JSON.stringify((await world.as(null)("GET", "/docs/openapi.json")).body);
    expect(document).toContain("[Hh][Tt][Tt][Pp][Ss]?:");
  });
});
