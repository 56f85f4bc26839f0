import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { once } from "node:events";
import { SocketQuotas } from "../../realtime/quotas/socket-quotas.ts";
import { createLog } from "../../shared/platform/log.ts";
import { tenantSocketsKey } from "../../shared/platform/redis-keys.ts";
import { closeRedis, openRedis } from "../../shared/platform/redis.ts";
import { tryConnectRaw, RawSocket, waitFor } from "../support/centrifuge.ts";
import { openWorld, type NodeOptions, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
const raws: RawSocket[] = [];
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 11 });
});
afterEach(async () => {
  for (const raw of raws.splice(0)) raw.end();
  await world.stopNodes();
  await world.redis.flushdb();
});
afterAll(() => world.close());

async function connect(node: RealtimeNode, user: string, from = world): Promise<RawSocket> {
  const raw = await tryConnectRaw(node, await from.token(user));
  raws.push(raw);
  return raw;
}

/** Until when the sockets of a tenant count. */
async function readLeases(tenantId: string): Promise<number> {
  const counts = await world.redis.hvals(tenantSocketsKey(tenantId));
  return Math.max(...counts.map((count) => Number(count.split(" ")[1])));
}

/** The status that an upgrade of an address is answered with; an accepted socket stays open. */
async function openAs(node: RealtimeNode, forwardedFor: string): Promise<number> {
  const raw = new RawSocket(node, [], { "x-forwarded-for": forwardedFor });
  raws.push(raw);
  const refused = once(raw.socket, "unexpected-response").then(
    ([, response]: unknown[]) => (response as { statusCode: number }).statusCode,
  );
  return Promise.race([refused, once(raw.socket, "open").then(() => 101)]);
}

describe("sockets over all processes", () => {
  const open = (limits: Record<string, number>, options: NodeOptions = {}) =>
    world.node({ limits, ...options });

  test("the oldest socket of a user closes with 3504, whichever process it is in", async () => {
    const limits = { userSockets: 2 };
    const [one, other] = await Promise.all([open(limits), open(limits)]);
    const first = await connect(one, "ada");
    const second = await connect(other, "ada");
    const bob = await connect(one, "bob");
    const third = await connect(other, "ada");
    expect(await first.closed()).toBe(3504);
    expect(await one.metric('omc_realtime_closes_total{code="3504"}')).toBe(1);
    await connect(one, "ada");
    expect(await second.closed()).toBe(3504);
    expect([third.closeCode, bob.closeCode]).toEqual([null, null]);
  });

  test("sockets that a user opens at once are counted one by one", async () => {
    const node = await open({ userSockets: 3 });
    const token = await world.token("ada");
    for (let count = 0; count < 12; count++) raws.push(new RawSocket(node));
    await Promise.all(raws.map((raw) => raw.opened()));
    for (const raw of raws) raw.send({ id: 1, connect: { token } });
    await waitFor(async () => (await node.metric('omc_realtime_closes_total{code="3504"}')) === 9);
    await waitFor(
      () => raws.filter(({ replies, closeCode }) => replies.length > 0 && closeCode === null).length === 3,
    );
  });

  test("a socket that has ended counts no more", async () => {
    const node = await open({ userSockets: 1 });
    for (let count = 0; count < 5; count++) {
      const raw = await connect(node, "ada");
      raw.end();
      await waitFor(async () => (await node.metric("omc_realtime_connections")) === 0);
    }
    expect(await node.metric('omc_realtime_closes_total{code="3504"}')).toBe(0);
  });

  test("a tenant with its most sockets gets the temporary error 100, while another tenant connects", async () => {
    const limits = { tenantSockets: 2 };
    const [one, two] = await Promise.all([open(limits), open(limits)]);
    const first = await connect(one, "ada");
    await connect(two, "bob");
    expect(await two.metric('omc_realtime_over_quota_total{quota="tenant"}')).toBe(0);
    const refused = await connect(two, "cyd");
    expect((await refused.reply(1)).error).toMatchObject({ code: 100, temporary: true });
    expect(await two.metric('omc_realtime_over_quota_total{quota="tenant"}')).toBe(1);
    const other = await world.otherTenant();
    expect((await (await connect(two, "ada", other)).reply(1)).error).toBeUndefined();
    first.end();
    await waitFor(async () => (await (await connect(two, "cyd")).reply(1)).error === undefined);
  });

  test("a tenant's own limits go before those of the configuration", async () => {
    const node = await open({ userSockets: 20, tenantSockets: 20 });
    const other = await world.otherTenant();
    await world
      .db("tenants")
      .where({ id: other.tenant.id })
      .update({ limits: JSON.stringify({ userSockets: 1, tenantSockets: 2 }) });
    const first = await connect(node, "ada", other);
    await connect(node, "ada", other);
    expect(await first.closed()).toBe(3504);
    await connect(node, "bob", other);
    expect((await (await connect(node, "cyd", other)).reply(1)).error).toMatchObject({ code: 100 });
  });

  test("the sockets of a killed process leave the count", async () => {
    const limits = { userSockets: 1, tenantSockets: 1, socketLeaseMs: 1_500 };
    const [killed, other] = await Promise.all([open(limits), open(limits)]);
    await connect(killed, "ada");
    killed.child.kill("SIGKILL");
    await waitFor(async () => (await (await connect(other, "ada")).reply(1)).error === undefined);
    // The count of a process that lives is renewed.
    const leases = () => readLeases(world.tenant.id);
    const before = await leases();
    await waitFor(async () => (await leases()) > before + limits.socketLeaseMs);
    expect((await (await connect(other, "bob")).reply(1)).error).toMatchObject({ code: 100 });
  });

  test("without Redis each process applies the limits to its own sockets", async () => {
    const log = createLog({ level: "silent", tier: "test" });
    const redis = openRedis("redis://127.0.0.1:1", log, "test");
    const closed: string[] = [];
    const quotas = new SocketQuotas({
      redis,
      log,
      closeElsewhere: () => undefined,
      onOver: () => undefined,
    });
    const admit = (connectionId: string) =>
      quotas.admit({
        connectionId,
        userId: "u",
        tenantId: "t",
        userSockets: 2,
        tenantSockets: 3,
        close: () => closed.push(connectionId),
      });
    try {
      for (const id of ["a", "b", "c"]) await admit(id);
      expect(closed).toEqual(["a"]);
      expect(quotas.isShared).toBe(false);
      await expect(admit("d")).rejects.toMatchObject({ code: "unavailable" });
      quotas.leave("a");
      await admit("e");
      expect(closed).toEqual(["a", "b"]);
    } finally {
      await quotas.stop();
      closeRedis(redis);
    }
  });
});

describe.each(["uws", "ws"] as const)("an address, with the transport %s,", (transport) => {
  const limits = { addressSockets: 2 };
  const options = { transport, limits, trustedProxies: ["loopback"] };

  test("gets 503 at the upgrade when it has too many sockets that no user has connected", async () => {
    const node = await world.node(options);
    expect(await openAs(node, "203.0.113.1")).toBe(101);
    expect(await openAs(node, "203.0.113.1:4711")).toBe(101);
    expect(await openAs(node, "198.51.100.9, 203.0.113.1")).toBe(503);
    expect(await openAs(node, "203.0.113.2")).toBe(101);
    expect(await node.metric('omc_realtime_upgrades_refused_total{reason="address"}')).toBe(1);
    expect(await node.metric("omc_realtime_unconnected")).toBe(3);
    // A socket that connects leaves its place, and so does one that ends.
    raws[0]?.send({ id: 1, connect: { token: await world.token("ada") } });
    await raws[0]?.reply(1);
    expect(await openAs(node, "203.0.113.1")).toBe(101);
    expect(await openAs(node, "203.0.113.1")).toBe(503);
    raws[1]?.end();
    await waitFor(async () => (await openAs(node, "203.0.113.1")) === 101);
  });

  test("is counted with its sockets in the other processes", async () => {
    const [one, other] = await Promise.all([world.node(options), world.node(options)]);
    expect(await openAs(one, "203.0.113.1")).toBe(101);
    expect(await openAs(other, "203.0.113.1")).toBe(101);
    await waitFor(async () => (await openAs(one, "203.0.113.1")) === 503);
    expect(await openAs(one, "203.0.113.3")).toBe(101);
  });
});
