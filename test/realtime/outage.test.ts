import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import {
  closeListeners,
  connectListener,
  connectRaw,
  RawSocket,
  tryConnectRaw,
  waitFor,
} from "../support/centrifuge.ts";
import { openProxy, type Proxy } from "../support/realtime-proxy.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
let redis: Proxy;
let postgres: Proxy;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 9 });
  redis = await openProxy(world.redisUrl);
  postgres = await openProxy(world.databaseUrl);
  node = await world.node({
    redisUrl: redis.url,
    databaseUrl: postgres.url,
    limits: {
      heartbeatMs: 100,
      heartbeatSilenceMs: 600,
      commandBurst: 60,
      commandsPerSecond: 1,
      errorBurst: 5,
    },
  });
});
afterEach(() => {
  closeListeners();
  redis.restore();
  postgres.restore();
});
afterAll(async () => {
  await world.close();
  await redis.close();
  await postgres.close();
});

const readyz = () => fetch(`http://127.0.0.1:${node.port}/readyz`);
const ready = async () => (await readyz()).status;
const readiness = async () => (await (await readyz()).json()) as { degraded: { code: string }[] };

describe("while Redis is away", () => {
  test("sockets stay open, and receive the messages of the outage when Redis is back, without a further message", async () => {
    const room = await world.room("group:away", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    await world.say(room, "1");
    await waitFor(() => ada.publications.length === 1);
    redis.cut();
    await waitFor(async () => (await ready()) === 503);
    await world.say(room, "2", "3");
    redis.restore();
    await waitFor(() => ada.publications.length === 3);
    expect(ada.texts("group:away")).toEqual(["1", "2", "3"]);
    expect(ada.connecting).toHaveLength(1);
    await waitFor(async () => (await ready()) === 200);
  });

  test("a connect gets a temporary error, and succeeds when Redis is back", async () => {
    redis.cut();
    await waitFor(async () => (await ready()) === 503);
    const raw = await new RawSocket(node).opened();
    raw.send({ id: 1, connect: { token: await world.token("ada") } });
    expect((await raw.reply(1)).error).toEqual({
      code: 100,
      message: "internal server error",
      temporary: true,
    });
    raw.end();
    redis.restore();
    await waitFor(async () => (await ready()) === 200);
    const ada = await connectListener(node, await world.token("ada"));
    expect(ada.subscribed.length).toBeGreaterThan(0);
  });

  test("a connection to Redis that receives nothing is replaced", async () => {
    const room = await world.room("group:mute", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    redis.mute();
    await world.say(room, "not received at first");
    await new Promise((resolve) => setTimeout(resolve, 900));
    redis.restore();
    await waitFor(() => ada.texts("group:mute").length === 1);
    expect(ada.connecting).toHaveLength(1);
  });
});

describe("while Postgres is away", () => {
  test("sockets stay open and receive messages, and a connect gets a temporary error", async () => {
    const room = await world.room("group:nodb", ["ada"]);
    const token = await world.token("ada");
    const ada = await connectListener(node, token);
    postgres.cut();
    await world.say(room, "1");
    await waitFor(() => ada.publications.length === 1);
    const raw = await new RawSocket(node).opened();
    raw.send({ id: 1, connect: { token } });
    expect((await raw.reply(1)).error?.code).toBe(100);
    raw.end();
    // A look that began before the outage may answer first.
    const codes = async () => (await readiness()).degraded.map(({ code }) => code).join();
    await waitFor(async () => (await codes()) === "postgres_down");
    expect(await readiness()).toMatchObject({
      ready: true,
      degraded: [{ code: "postgres_down", severity: "critical", since: expect.any(String) }],
      transport: "uws",
    });
    postgres.restore();
    const later = await tryConnectRaw(node, token);
    expect((await later.reply(1)).error).toBeUndefined();
    later.end();
    expect(ada.connecting).toHaveLength(1);
  });

  test("a client with many subscriptions gets a temporary error for each, and keeps its connection", async () => {
    const raw = await connectRaw(node, await world.token("ada"));
    postgres.cut();
    const ids = Array.from({ length: 20 }, (_, n) => n + 2);
    raw.send(...ids.map((id) => ({ id, subscribe: { channel: `group:many-${id}` } })));
    await raw.reply(21);
    raw.send({ id: 99, ping: {} });
    await raw.reply(99);
    expect(ids.map((id) => raw.replies.find((reply) => reply.id === id)?.error?.code)).toEqual(
      ids.map(() => 100),
    );
    raw.end();
  });

  test("a client that retries without a pause is closed with a code to reconnect", async () => {
    const raw = await connectRaw(node, await world.token("ada"));
    postgres.cut();
    for (let id = 2; raw.closeCode === null && id < 100; id++) {
      raw.send({ id, subscribe: { channel: "group:again" } });
      await waitFor(() => raw.closeCode !== null || raw.replies.some((reply) => reply.id === id));
    }
    expect(raw.closeCode).toBe(3013);
  });

  test("a client that waits too long for the reply to a connect is closed with a code to reconnect", async () => {
    const hasty = await world.node({
      redisUrl: redis.url,
      databaseUrl: postgres.url,
      limits: { authenticateMs: 300, deadlineCheckMs: 50 },
    });
    const token = await world.token("ada");
    postgres.mute();
    const raw = await new RawSocket(hasty).opened();
    raw.send({ id: 1, connect: { token } });
    expect(await raw.closed()).toBe(3004);
    postgres.restore();
  });
});
