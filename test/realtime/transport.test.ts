import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { once } from "node:events";
import { WebSocket } from "ws";
import { closeListeners, connectListener, connectRaw, RawSocket, waitFor } from "../support/centrifuge.ts";
import { openPlainSocket, type PlainSocket } from "../support/realtime-plain-socket.ts";
import { sendRaw } from "../support/raw-http.ts";
import { openWorld, type NodeOptions, type RealtimeNode, type World } from "../support/realtime.ts";

const KIB = 1_024;

let world: World;
const raws: RawSocket[] = [];
const plains: PlainSocket[] = [];
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 10 });
});
afterEach(async () => {
  closeListeners();
  for (const raw of raws.splice(0)) raw.end();
  for (const plain of plains.splice(0)) plain.end();
  await world.stopNodes();
});
afterAll(() => world.close());

/** The same contract for both transports. */
describe.each(["uws", "ws"] as const)("the transport %s", (transport) => {
  const open = (options: NodeOptions = {}) => world.node({ transport, ...options });

  async function connected(node: RealtimeNode, user = "ada"): Promise<RawSocket> {
    const raw = await connectRaw(node, await world.token(user));
    raws.push(raw);
    return raw;
  }

  async function openPlain(node: RealtimeNode): Promise<PlainSocket> {
    const plain = await openPlainSocket(node);
    plains.push(plain);
    return plain;
  }

  const closes = (node: RealtimeNode, code: number) =>
    node.metric(`omc_realtime_closes_total{code="${code}"}`);

  test("is named by the readiness and by a metric", async () => {
    const node = await open();
    const readiness = await fetch(`http://127.0.0.1:${node.port}/readyz`);
    expect(await readiness.json()).toEqual({ ready: true, degraded: [], transport });
    expect(await node.metric(`omc_realtime_transport{transport="${transport}"}`)).toBe(1);
  });

  test("answers plain requests", async () => {
    const node = await open();
    const request = async (path: string, method = "GET") => {
      const response = await fetch(`http://127.0.0.1:${node.port}${path}`, { method });
      return [response.status, response.headers.get("cache-control"), await response.text()];
    };
    expect(await request("/livez")).toEqual([200, "no-store", '{"live":true}']);
    expect(await request("/livez?a=1")).toEqual([200, "no-store", '{"live":true}']);
    expect(await request("/nothing")).toEqual([404, "no-store", '{"error":"not found"}']);
    expect(await request("/connection/websocket")).toEqual([404, "no-store", '{"error":"not found"}']);
    expect(await request("/livez", "POST")).toEqual([405, "no-store", "method not allowed"]);
    expect(await request("/livez", "HEAD")).toEqual([200, "no-store", ""]);
    expect((await request("/nothing", "POST"))[0]).toBe(404);
    for (const path of ["/LIVEZ", "/livez/", "/livez/x", "/%6civez", "/Connection/websocket"])
      expect([path, (await request(path))[0]]).toEqual([path, 404]);
    const twice = await sendRaw(node.port, "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    expect(twice).toMatch(/^HTTP\/1\.1 400 /);
  });

  test("upgrades a known origin and sub-protocol on the one path, and names the sub-protocol", async () => {
    const node = await open({ allowedOrigins: ["https://app.example"] });
    const attempt = async (protocols: string[], headers: Record<string, string> = {}, path = "") => {
      const socket = new WebSocket(path === "" ? node.url : `ws://127.0.0.1:${node.port}${path}`, protocols, {
        headers,
      });
      socket.on("error", () => undefined);
      const opened = once(socket, "open").then(() => `101 ${socket.protocol} ${socket.extensions}`);
      const refused = once(socket, "unexpected-response").then(([, response]: unknown[]) =>
        String((response as { statusCode: number }).statusCode),
      );
      const outcome = await Promise.race([opened, refused]);
      socket.terminate();
      return outcome;
    };
    // The client offers permessage-deflate each time; no extension is negotiated.
    expect(await attempt([])).toBe("101  ");
    expect(await attempt(["centrifuge-json"])).toBe("101 centrifuge-json ");
    expect(await attempt(["other", "centrifuge-json"])).toBe("101 centrifuge-json ");
    expect(await attempt(["centrifuge-protobuf"])).toBe("400");
    expect(await attempt([], { origin: "https://app.example" })).toBe("101  ");
    expect(await attempt([], { origin: "https://evil.example" })).toBe("403");
    expect(await attempt([], {}, "/connection/other")).toBe("404");
  });

  test("refuses a socket with 503 when the process is full", async () => {
    const node = await open({ limits: { connections: 1 } });
    await connected(node);
    const second = new RawSocket(node);
    const [, response] = (await once(second.socket, "unexpected-response")) as [
      unknown,
      { statusCode: number },
    ];
    second.end();
    expect(response.statusCode).toBe(503);
    expect(await node.metric('omc_realtime_upgrades_refused_total{reason="full"}')).toBe(1);
  });

  test("delivers to the official client, and moves it to the next process", async () => {
    const room = await world.room(`group:official-${transport}`, ["ada"]);
    const node = await open({ limits: { drainMs: 200 } });
    const ada = await connectListener(node, await world.token("ada"));
    await world.say(room, "1", "2");
    await waitFor(() => ada.texts(`group:official-${transport}`).length === 2);
    await node.stop();
    await waitFor(() => ada.connecting.includes(3001));
    expect(node.child.exitCode).toBe(0);
  });

  test("accepts a message at the limit of bytes, and closes with 1009 over it", async () => {
    const node = await open();
    const raw = await connected(node);
    const command = '{"id":2,"ping":{}}';
    raw.socket.send(command + " ".repeat(64 * KIB - command.length));
    await raw.reply(2);
    raw.socket.send(command + " ".repeat(64 * KIB - command.length + 1));
    expect(await raw.closed()).toBe(1009);
    expect(await closes(node, 1009)).toBe(1);
  });

  test("counts a message in bytes, not in characters", async () => {
    const raw = await connected(await open());
    raw.socket.send(`"${"é".repeat(40 * KIB)}"`);
    expect(await raw.closed()).toBe(1009);
  });

  test("closes with 3506 on a binary message", async () => {
    const raw = await connected(await open());
    raw.socket.send(Buffer.from('{"id":2,"ping":{}}'));
    expect(await raw.closed()).toBe(3506);
  });

  test("answers a WebSocket ping with its bytes, and counts it as activity", async () => {
    const node = await open({ limits: { pingMs: 400, pongMs: 200, deadlineCheckMs: 50 } });
    const plain = await openPlain(node);
    plain.sendText(JSON.stringify({ id: 1, connect: { token: await world.token("ada") } }));
    const endMs = Date.now() + 1_500;
    while (Date.now() < endMs) {
      plain.sendPing("beat");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(plain.received().includes(Buffer.from([0x8a, 4, ...Buffer.from("beat")]))).toBe(true);
    expect(await closes(node, 3012)).toBe(0);
    // Without pings the client is silent.
    await waitFor(async () => (await closes(node, 3012)) === 1);
  });

  test("closes with 3013 on too many WebSocket pings", async () => {
    const raw = await connected(await open({ limits: { commandBurst: 20 } }));
    for (let sent = 0; sent < 40; sent++) raw.socket.ping();
    expect(await raw.closed()).toBe(3013);
  });

  test("holds no more than the limit for a client that pings and reads nothing, and ends it", async () => {
    const queueBytes = 64 * KIB;
    const limits = { queueBytes, commandBurst: 10_000_000, closeMs: 500, pingMs: 60_000 };
    const node = await open({ limits });
    const plain = await openPlain(node);
    plain.pause();
    let mostBytes = 0;
    while ((await closes(node, 3008)) === 0) {
      await plain.sendPings(2_000);
      mostBytes = Math.max(mostBytes, await node.metric("omc_realtime_queue_bytes"));
    }
    expect(mostBytes).toBeLessThanOrEqual(queueBytes);
    await waitFor(async () => (await node.metric("omc_realtime_closing")) === 0);
    await plain.ended();
  });

  test("ends a closed client that reads nothing after the deadline, and counts it until then", async () => {
    const limits = { queueBytes: 64 * KIB, closeMs: 1_500, connections: 2 };
    const node = await open({ limits });
    const room = await world.room(`group:deaf-${transport}`, ["deaf"]);
    const deaf = await connected(node, "deaf");
    deaf.socket.pause();
    const texts = Array.from({ length: 4 }, () => "x".repeat(12_000));
    while ((await closes(node, 3008)) === 0) await world.say(room, ...texts);
    const closedAtMs = Date.now();
    expect(await node.metric("omc_realtime_closing")).toBe(1);
    expect(await node.metric("omc_realtime_connections")).toBe(0);
    // The closing socket and one more fill the process.
    await connected(node);
    const third = new RawSocket(node);
    expect(await third.closed()).toBe(1006);
    await waitFor(async () => (await node.metric("omc_realtime_closing")) === 0);
    expect(Date.now() - closedAtMs).toBeGreaterThan(1_000);
    expect(Date.now() - closedAtMs).toBeLessThan(10_000);
  });

  test("leaves nothing behind of sockets that vanish", async () => {
    const node = await open();
    const all = await Promise.all(Array.from({ length: 20 }, () => connected(node)));
    for (const raw of all) raw.end();
    await waitFor(async () => (await node.metric("omc_realtime_connections")) === 0);
    expect(await node.metric("omc_realtime_closing")).toBe(0);
  });
});

test("the transport ws ends a client that does not answer the close", async () => {
  const node = await world.node({
    transport: "ws",
    limits: { closeMs: 600, authenticateMs: 200, deadlineCheckMs: 50 },
  });
  const plain = await openPlainSocket(node);
  plains.push(plain);
  await waitFor(async () => (await node.metric("omc_realtime_closing")) === 1);
  await plain.ended();
  await waitFor(async () => (await node.metric("omc_realtime_closing")) === 0);
});
