import { listeningAddresses } from "../support/listening-addresses.ts";
import { afterAll, describe, expect, test } from "@jest/globals";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { WebSocket } from "ws";
import { z } from "zod";
import { FailingHomeserver } from "../support/journey/homeserver.ts";
import { roomPath, type Person } from "../support/journey/clients.ts";
import { TIER_NAMES, type TierName } from "../faults/environment/tiers.ts";
import { required, useJourney } from "../support/journey/journey.ts";
import { readTestSynapse } from "../support/stack-servers.ts";

const homeserver = new FailingHomeserver(readTestSynapse());
const journey = useJourney(async () => ({ SYNAPSE_URL: await homeserver.open(), LOG_LEVEL: "trace" }));
afterAll(() => homeserver.close());

const line = z.looseObject({ msg: z.string() });
type Line = z.infer<typeof line>;

/** The lines that a tier has logged so far. */
function linesOf(name: TierName): Line[] {
  return journey.tier(name).lines.flatMap((text) => {
    try {
      return [line.parse(JSON.parse(text))];
    } catch {
      return [];
    }
  });
}

const messageAnswer = z.looseObject({ id: z.string(), status: z.string() });

/** Posts a message and returns its id. */
async function post(person: Person, room: string, text: string, requestId?: string): Promise<string> {
  const answer = await person.call("POST", roomPath(room, "/messages"), {
    body: { text },
    headers: requestId === undefined ? {} : { "x-request-id": requestId },
  });
  expect(answer.status).toBe(202);
  if (requestId !== undefined) expect(answer.headers.get("x-request-id")).toBe(requestId);
  return messageAnswer.parse(answer.body).id;
}

async function statusOf(person: Person, room: string, id: string): Promise<string> {
  const { body } = await person.call("GET", roomPath(room, `/messages/${id}`));
  return messageAnswer.parse(body).status;
}

/** Every raw frame that a person's socket receives. */
async function listenRaw(token: string): Promise<{ frames: string[]; socket: WebSocket }> {
  const socket = new WebSocket(`ws://127.0.0.1:${journey.tier("realtime").port}/connection/websocket`);
  const frames: string[] = [];
  socket.on("message", (data: Buffer) => frames.push(data.toString()));
  socket.on("close", (code, reason) => frames.push(`${String(code)} ${reason.toString()}`));
  await once(socket, "open");
  socket.send(JSON.stringify({ id: 1, connect: { token } }));
  await journey.waitFor("the socket receives a frame", () => frames.length > 0);
  return { frames, socket };
}

test("a message is found in the logs of every tier by the id of its request", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom("group:trace", { members: [{ user: "ada" }, { user: "bob" }] });
  const socket = await tenant.socket(bob);
  const requestId = "trace-4711";
  const message = await post(ada, "group:trace", "follow me", requestId);
  await socket.waitFor("the message is received", () => socket.texts("group:trace").includes("follow me"));
  // A room's first messages may have a gap, which the jobs fill.
  const places: [TierName[], string][] = [
    [["api"], "request"],
    [["workers"], "message sent"],
    [["sync", "workers"], "message seen on Matrix"],
    [["realtime"], "delivered"],
  ];
  for (const [names, msg] of places) {
    const found = await journey.waitFor(`${names.join(" or ")} logs ${msg}`, () =>
      names.flatMap(linesOf).find((candidate) => candidate.msg === msg && candidate["message"] === message),
    );
    expect(found).toMatchObject({ requestId, room: expect.any(String) });
  }
  const delivered = linesOf("realtime").filter((candidate) => candidate["message"] === message);
  expect(new Set(delivered.map((candidate) => candidate["requestId"]))).toEqual(new Set([requestId]));
});

describe("metrics", () => {
  const TIERS: Record<TierName, string> = { api: "api", workers: "jobs", sync: "sync", realtime: "realtime" };

  test("are exactly those of docs/metrics.md, with its types and tiers", async () => {
    const documented = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8")
      .split("\n")
      .flatMap((row) => {
        const [, name, type, , tiers] =
          /^\| `(omc_\w+)` *\| (\w+) *\| (\w+) *\| ([\w, ]+?) *\|/.exec(row) ?? [];
        return name === undefined
          ? []
          : required(tiers)
              .split(", ")
              .map((tier) => `${tier} ${name} ${required(type)}`);
      });
    const exposed = await Promise.all(
      TIER_NAMES.map(async (name) =>
        [...(await journey.tier(name).metrics()).matchAll(/^# TYPE (omc_\w+) (\w+)$/gm)].map(
          ([, metric, type]) => `${TIERS[name]} ${required(metric)} ${required(type)}`,
        ),
      ),
    );
    expect(exposed.flat().length).toBeGreaterThan(40);
    expect(exposed.flat().sort()).toEqual(documented.sort());
  });

  test("have a value for each observer", async () => {
    expect(await journey.tier("sync").metrics()).toMatch(
      /^omc_sync_silent_seconds\{observer="[0-9a-f-]{36}"\} \d/m,
    );
  });
});

describe("after a conversation with failures", () => {
  const room = "group:leaks";
  const texts = ["plain words 81f3", "refused words 92a4", "late words a3b5", "foreign words b4c6"];
  const [plain = "", refused = "", late = "", foreign = ""] = texts;
  const errorTexts: string[] = [];
  const frames: string[] = [];

  test("an accepted message is delivered, and one that Matrix refuses is dead", async () => {
    const { tenant } = journey;
    const [ada, bob] = await tenant.people("ada", "bob");
    await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
    const listener = await listenRaw(bob.token);
    const socket = await tenant.socket(bob);
    await post(ada, room, plain);
    await socket.waitFor("the message is received", () => socket.texts(room).includes(plain));

    homeserver.refusedBody = /refused words/;
    const dead = await post(ada, room, refused);
    await journey.waitFor("it is dead", async () => (await statusOf(ada, room, dead)) === "dead");

    homeserver.isDown = true;
    const before = homeserver.failures.down;
    await post(ada, room, late);
    await journey.waitFor("calls to the homeserver failed", () => homeserver.failures.down > before + 2);
    homeserver.isDown = false;
    await socket.waitFor("it is received late", () => socket.texts(room).includes(late), 30_000);

    homeserver.garbledPath = /createRoom/;
    await tenant.server.putRoom("group:garbled", { members: [{ user: "ada" }] });
    await journey.waitFor("its response was not JSON", () => homeserver.failures.garbled > 0);
    homeserver.garbledPath = /(?!)/;
    await tenant.matrixRoomId("group:garbled");

    await sayOnMatrix(foreign);
    await socket.waitFor("it is received from Matrix", () => socket.texts(room).includes(foreign), 30_000);
    await provokeErrors(ada);
    frames.push(...listener.frames, ...socket.received.map((one) => JSON.stringify(one)));
    listener.socket.terminate();
    await tenant.settled(room);
  }, 120_000);

  /** Posts as ada from a plain Matrix client, with the login of an operator. */
  async function sayOnMatrix(text: string): Promise<void> {
    const { synapse, tenant } = journey;
    const login = await tenant.matrixLogin("ada");
    const matrixRoomId = await tenant.matrixRoomId(room);
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(matrixRoomId)}/send/m.room.message/leaks-1`;
    const { status } = await synapse.call("PUT", path, login.accessToken, { msgtype: "m.text", body: text });
    expect(status).toBe(200);
  }

  /** Sends bad credentials, other users' paths and broken bodies to the API, and a forged token to the socket. */
  async function provokeErrors(ada: Person): Promise<void> {
    const forged = `${ada.token.slice(0, -6)}AAAAAA`;
    journey.remember(forged);
    const calls: [string, string, string, string?][] = [
      ["GET", "/v1/me/rooms", forged],
      ["GET", "/v1/me/rooms", "omc_server_aaaaaaaaaaaaaaaa_bbbbbbbbbbbbbbbb"],
      ["GET", roomPath("group:nowhere", "/messages"), ada.token],
      ["GET", "/v1/users/ada", ada.token],
      ["POST", roomPath(room, "/messages"), ada.token, '{"text":"words of a bad body c5d7","more":1}'],
      ["POST", roomPath(room, "/messages"), ada.token, '{"text":"words of a bad body c5d7'],
      ["GET", "/admin/queues/api/queues", ada.token],
      ["GET", "/nothing%zz", ada.token],
    ];
    for (const [method, path, credential, body] of calls) {
      const response = await fetch(journey.apiUrl + path, {
        method,
        headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body }),
      });
      expect(response.status).toBeGreaterThanOrEqual(400);
      errorTexts.push(`${await response.text()} ${JSON.stringify([...response.headers])}`);
    }
    const refusedSocket = await listenRaw(forged);
    await journey.waitFor(
      "the forged token is refused",
      () => refusedSocket.socket.readyState === WebSocket.CLOSED,
    );
    frames.push(...refusedSocket.frames);
  }

  test("each failure happened", () => {
    expect(homeserver.failures.refused).toBeGreaterThan(0);
    expect(homeserver.failures.garbled).toBeGreaterThan(0);
    expect(errorTexts.length).toBeGreaterThan(5);
    expect(frames.join("\n")).toContain(plain);
    expect(frames.join("\n")).toContain("message.failed");
  });

  /** Every id, name and address of the homeserver, and every secret, with what it is. */
  async function readForbidden(): Promise<[what: string, value: string][]> {
    const { synapse } = journey;
    const ids = await journey.sql<{ what: string; value: string }>(
      `select 'account' as what, matrix_user_id as value from users
       union all select 'observer', matrix_user_id from observers
       union all select 'room', matrix_room_id from rooms where matrix_room_id is not null
       union all select 'event', event_id from timeline where event_id is not null
       union all select 'event', event_id from messages where event_id is not null`,
    );
    expect(new Set(ids.map(({ what }) => what)).size).toBe(4);
    const values: [string, string][] = ids.flatMap(({ what, value }) => [
      [what, value],
      [`${what}, encoded`, encodeURIComponent(value)],
      [`${what}, bare`, value.replace(/^[@!$]/, "").replace(/:.*$/, "")],
    ]);
    return [
      ...values,
      ...journey.secrets.map((secret): [string, string] => ["secret", secret]),
      ["server name", synapse.serverName],
      ["server address", new URL(synapse.url).host],
    ];
  }

  const SHAPES: [string, RegExp][] = [
    ["Matrix id", /[@!#]omc_\w+|[@!#][\w.=/+-]{8,}:[a-z0-9.-]+/i],
    ["alias", /#omc_|%23omc_/],
    ["Synapse token", /\bsyt_\w+/],
    ["user token", /\beyJ[\w-]{10,}\.[\w-]+\./],
    ["API key", /\bomc_(server|operator|viewer)_[a-z2-7]{16}_/],
  ];

  function findLeaks(
    place: string,
    content: readonly string[],
    forbidden: readonly [string, string][],
  ): string[] {
    return content.flatMap((text) => {
      const found = [
        ...forbidden.filter(([, value]) => text.includes(value)).map(([what]) => what),
        ...SHAPES.filter(([, shape]) => shape.test(text)).map(([what]) => what),
      ];
      return found.map((what) => `${place}: ${what} in ${text.slice(0, 600)}`);
    });
  }

  test("the search finds a secret that is there", async () => {
    const forbidden = await readForbidden();
    const planted = forbidden.map(([, value]) => `a line with ${value} in it`);
    for (const text of planted) expect(findLeaks("here", [text], forbidden)).not.toEqual([]);
    expect(forbidden.length).toBeGreaterThan(30);
    for (const name of TIER_NAMES) expect(journey.tier(name).lines.length).toBeGreaterThan(2);
  });

  test("no token, Matrix id, homeserver name or message text is in a log, a metric or Redis where it must not be", async () => {
    const forbidden = await readForbidden();
    const words = [...texts, "words of a bad body c5d7"].map((text): [string, string] => ["words", text]);
    const redis = await journey.readRedisKeys();
    const jobs = redis.filter(({ key }) => key.includes("omc-queue"));
    const streams = redis.filter(({ key }) => !key.includes("omc-queue"));
    expect(jobs.length).toBeGreaterThan(5);
    expect(streams.length).toBeGreaterThan(0);
    const metrics = await Promise.all(TIER_NAMES.map((name) => journey.tier(name).metrics()));
    const textOf = ({ key, text }: { key: string; text: string }) => `${key} ${text}`;
    expect([
      ...findLeaks("a job", jobs.map(textOf), [...forbidden, ...words]),
      ...findLeaks("another key of Redis", streams.map(textOf), forbidden),
      ...TIER_NAMES.flatMap((name) =>
        findLeaks(`the log of ${name}`, journey.tier(name).lines, [...forbidden, ...words]),
      ),
      ...findLeaks(
        "metrics",
        metrics.flatMap((text) => text.split("\n")),
        [...forbidden, ...words],
      ),
      ...findLeaks("a frame", frames, forbidden),
      ...findLeaks("an error", errorTexts, [...forbidden, ...words]),
    ]).toEqual([]);
  });
});

test.each(TIER_NAMES)(
  "the %s process listens on BIND_ADDRESS alone, and exactly its paths of health answer",
  async (name) => {
    const { port } = journey.tier(name);
    expect(listeningAddresses(port)).toEqual(["loopback"]);
    const ask = async (path: string, method = "GET") => {
      const response = await fetch(`http://127.0.0.1:${String(port)}${path}`, { method });
      await response.arrayBuffer();
      return [response.status, response.headers.get("allow")];
    };
    for (const path of ["/livez", "/readyz", "/metrics", "/metrics?x=1"])
      expect(await ask(path)).toEqual([200, null]);
    expect(await ask("/metrics", "HEAD")).toEqual([200, null]);
    for (const path of [
      "/METRICS",
      "/Livez",
      "/metrics/",
      "/metrics/x",
      "/livez/anything",
      "//metrics",
      "/%6detrics",
    ])
      expect([path, ...(await ask(path))]).toEqual([path, 404, null]);
    const [status, allow] = await ask("/metrics", "POST");
    expect([status, allow]).toEqual([405, expect.stringMatching(/^GET, HEAD/)]);
  },
);

test("every process ends with code 0 within 10 s after SIGTERM", async () => {
  await Promise.all(
    TIER_NAMES.map(async (name) => {
      const startMs = performance.now();
      await journey.tier(name).stop();
      expect(performance.now() - startMs).toBeLessThan(10_000);
    }),
  );
});
