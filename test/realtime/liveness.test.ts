import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { closeListeners, connectListener, connectRaw, RawSocket, waitFor } from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 8 });
});
afterEach(async () => {
  closeListeners();
  await world.stopNodes();
});
afterAll(() => world.close());

const quick = { pingMs: 400, pongMs: 1_000, deadlineCheckMs: 50, expiredMs: 500 };

describe("pings", () => {
  test("a client that answers pings stays, and one that does not is closed with 3012, even while it receives messages", async () => {
    const node = await world.node({ limits: quick });
    const room = await world.room("group:ping", ["ada", "mute"]);
    const ada = await connectListener(node, await world.token("ada"));
    const mute = await connectRaw(node, await world.token("mute"));
    const over = new AbortController();
    const talk = (async () => {
      while (!over.signal.aborted) await world.say(room, "talk");
    })();
    expect(await mute.closed()).toBe(3012);
    over.abort();
    await talk;
    expect(mute.frames.some((frame) => frame.split("\n").includes("{}"))).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(ada.connecting).toHaveLength(1);
  });

  test("a second pong for one ping closes the connection", async () => {
    const node = await world.node({ limits: { ...quick, pingMs: 2_000 } });
    const raw = await connectRaw(node, await world.token("ada"));
    await waitFor(() => raw.frames.includes("{}"));
    raw.send("{}");
    raw.send({ id: 2, ping: {} });
    await raw.reply(2);
    raw.send("{}");
    expect(await raw.closed()).toBe(3501);
  });

  test("a client that sends no token in time is closed with 3502", async () => {
    const node = await world.node({ limits: { ...quick, authenticateMs: 300 } });
    const raw = await new RawSocket(node).opened();
    expect(await raw.closed()).toBe(3502);
  });

  test("a client that does not refresh its token in time is closed with 3005", async () => {
    const node = await world.node({ limits: { ...quick, pingMs: 60_000 } });
    const raw = await connectRaw(node, await world.token("ada", { lifetimeS: 1 }));
    expect(await raw.closed()).toBe(3005);
  });
});

describe("a slow client", () => {
  test("is closed with 3008, and the others receive every message meanwhile", async () => {
    const node = await world.node({ limits: { queueBytes: 64 * 1024 } });
    const room = await world.room("group:slow", ["ada", "slow"]);
    const ada = await connectListener(node, await world.token("ada"));
    const slow = await connectRaw(node, await world.token("slow"));
    slow.socket.pause();
    const text = "x".repeat(10_000);
    let said = 0;
    const closes = () => node.metric('omc_realtime_closes_total{code="3008"}');
    while ((await closes()) === 0 && said < 3_000) {
      await world.say(room, ...Array.from({ length: 4 }, () => text));
      said += 4;
      // Ada reads at once. Without this wait, her queue could also reach the limit on a busy machine.
      await waitFor(() => ada.publications.length === said);
    }
    expect(await closes()).toBe(1);
    slow.socket.resume();
    expect(await slow.closed()).toBe(3008);
    expect(ada.offsets("group:slow")).toEqual(Array.from({ length: said }, (_, n) => n + 1));
    const received = slow.replies.filter(({ push }) => push && "pub" in push).length;
    expect(received).toBeLessThan(said);
  });
});

describe("a process that stops", () => {
  test("closes every connection with a code to reconnect, accepts no new one, and ends", async () => {
    const node = await world.node({ limits: { drainMs: 1_000 } });
    const raws = await Promise.all(
      Array.from({ length: 20 }, async () => connectRaw(node, await world.token("ada"))),
    );
    const stopped = node.stop();
    await waitFor(() => raws.some(({ closeCode }) => closeCode !== null));
    expect(raws.some(({ closeCode }) => closeCode === null)).toBe(true);
    const late = new RawSocket(node);
    await stopped;
    expect(await late.closed()).toBe(1006);
    const codes = await Promise.all(raws.map((raw) => raw.closed()));
    expect(new Set(codes)).toEqual(new Set([3001]));
    expect(node.child.exitCode).toBe(0);
  });

  test("loses no message of clients that move to the next process", async () => {
    const room = await world.room("group:move", ["mia"]);
    const first = await world.node({ limits: { drainMs: 200 } });
    const mia = await connectListener(first, await world.token("mia"));
    await world.say(room, "1");
    const stopped = first.stop();
    await world.say(room, "2");
    await stopped;
    await world.say(room, "3");
    await world.node({ port: first.port });
    await waitFor(() => mia.texts("group:move").length === 3);
    expect(mia.texts("group:move")).toEqual(["1", "2", "3"]);
    expect(mia.connecting).toContain(3001);
  });
});

describe("limits of a process", () => {
  test("a full process answers 503", async () => {
    const node = await world.node({ limits: { connections: 1 } });
    const first = await connectRaw(node, await world.token("ada"));
    const second = new RawSocket(node);
    expect(await second.closed()).toBe(1006);
    expect(await node.metric('omc_realtime_upgrades_refused_total{reason="full"}')).toBe(1);
    first.end();
  });

  test("two processes can share a port, and a third one that does not share it fails to start", async () => {
    const first = await world.node({ isSharedPort: true });
    const second = await world.node({ isSharedPort: true, port: first.port });
    await expect(world.node({ port: first.port, isQuiet: true })).rejects.toThrow("did not start");
    first.child.kill("SIGKILL");
    await first.stop();
    const ada = await connectListener(second, await world.token("ada"));
    expect(ada.subscribed.length).toBeGreaterThan(0);
  });
});

describe("between processes", () => {
  let nodes: RealtimeNode[];
  test("a message reaches the user's connections of every process, and a removal unsubscribes all of them", async () => {
    const room = await world.room("group:nodes", ["nia"]);
    nodes = [await world.node(), await world.node()];
    const token = await world.token("nia");
    const [here, there] = await Promise.all(nodes.map((node) => connectListener(node, token)));
    await world.say(room, "hello");
    await waitFor(() => here?.publications.length === 1 && there?.publications.length === 1);
    await world.remove(room, "nia");
    await waitFor(() => here?.unsubscribed.length === 1 && there?.unsubscribed.length === 1);
  });
});
