import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { closeListeners, connectListener, connectRaw, waitFor } from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { readEntries } from "../../shared/db/timeline/publish-state.ts";
import { formatLive } from "../../shared/timeline/publish.ts";
import { publishUserEvent } from "../../shared/timeline/user-stream.ts";

let world: World;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 6 });
  node = await world.node({ limits: { antiEntropyMs: 300, heartbeatMs: 200 } });
});
afterEach(() => {
  closeListeners();
});
afterAll(() => world.close());

type Sub = {
  recovered?: boolean;
  was_recovering?: boolean;
  offset: number;
  epoch: string;
  publications?: { offset: number; data?: { text?: string } }[];
};

async function epochOf(room: Room): Promise<string> {
  const [row] = await readPositions(world.db, [room.id]);
  return row?.epoch ?? "";
}

/** Returns the subscription to a room that a client receives when it connects with a position. */
async function recover(
  channel: string,
  user: string,
  place: { epoch: string; offset: number },
  at = node,
): Promise<Sub> {
  const raw = await connectRaw(at, await world.token(user), { [channel]: { recover: true, ...place } });
  const reply = (await raw.reply(1)) as unknown as { connect: { subs: Record<string, Sub> } };
  raw.end();
  const sub = reply.connect.subs[channel];
  if (!sub) throw new Error("not subscribed");
  return sub;
}

const lost = { recovered: false, was_recovering: true, publications: [] };

describe("a client that reconnects", () => {
  test("receives the entries that it missed, in order, and goes on from there", async () => {
    const room = await world.room("group:missed", ["ada"]);
    await world.say(room, "1", "2", "3", "4", "5");
    const sub = await recover("group:missed", "ada", { epoch: await epochOf(room), offset: 2 });
    expect(sub).toMatchObject({ recovered: true, was_recovering: true, offset: 2 });
    expect(sub.publications?.map(({ offset }) => offset)).toEqual([3, 4, 5]);
  });

  test("is recovered without entries when it missed nothing", async () => {
    const room = await world.room("group:nothing", ["ada"]);
    await world.say(room, "1");
    const sub = await recover("group:nothing", "ada", { epoch: await epochOf(room), offset: 1 });
    expect(sub).toMatchObject({ recovered: true, offset: 1, publications: [] });
  });

  test.each([
    ["of another epoch", { epoch: "another", offset: 1 }],
    ["of no epoch", { epoch: "", offset: 1 }],
    ["ahead of the room", { epoch: "own", offset: 9 }],
  ])("is not recovered when its position is %s", async (title, place) => {
    const key = `group:${title.replaceAll(" ", "-")}`;
    const room = await world.room(key, ["ada"]);
    await world.say(room, "1", "2");
    const sub = await recover(
      key,
      "ada",
      place.epoch === "own" ? { ...place, epoch: await epochOf(room) } : place,
    );
    expect(sub).toMatchObject({ ...lost, offset: 2 });
  });

  test("receives a thousand entries, most of which Redis has no more, but not one more", async () => {
    // The bytes of the shortest messages end a recovery before the thousandth.
    const wide = await world.node({ limits: { recoveredBytes: 1_024 * 1_024 } });
    const room = await world.room("group:many", ["ada"]);
    await world.say(room, ...Array.from({ length: 1_001 }, (_, n) => `m${n + 1}`));
    const epoch = await epochOf(room);
    expect(await world.redis.xlen(roomStreamKey(room.id, epoch))).toBeLessThan(400);
    expect(await recover("group:many", "ada", { epoch, offset: 0 }, wide)).toMatchObject(lost);
    const all = await recover("group:many", "ada", { epoch, offset: 1 }, wide);
    await wide.stop();
    expect(all).toMatchObject({ recovered: true, offset: 1 });
    expect(all.publications?.map(({ offset, data }) => [offset, data?.text])).toEqual(
      Array.from({ length: 1_000 }, (_, n) => [n + 2, `m${n + 2}`]),
    );
  });

  test("receives the same publications from Postgres as from Redis", async () => {
    const room = await world.room("group:same", ["ada"]);
    await world.say(room, "1", "2", "3");
    const epoch = await epochOf(room);
    const fromRedis = await recover("group:same", "ada", { epoch, offset: 0 });
    await world.redis.del(roomStreamKey(room.id, epoch));
    const fromPostgres = await recover("group:same", "ada", { epoch, offset: 0 });
    expect(fromPostgres).toEqual(fromRedis);
    expect(fromPostgres.publications).toHaveLength(3);
  });

  test("is not recovered when it missed more than 256 KB", async () => {
    const room = await world.room("group:big", ["ada"]);
    await world.say(room, ...Array.from({ length: 40 }, () => "x".repeat(10_000)));
    const epoch = await epochOf(room);
    expect(await recover("group:big", "ada", { epoch, offset: 0 })).toMatchObject(lost);
    expect(await recover("group:big", "ada", { epoch, offset: 20 })).toMatchObject({ recovered: true });
    await world.redis.del(roomStreamKey(room.id, epoch));
    expect(await recover("group:big", "ada", { epoch, offset: 0 })).toMatchObject(lost);
    expect(await recover("group:big", "ada", { epoch, offset: 20 })).toMatchObject({ recovered: true });
  });

  test("recovers rooms up to the limit of one connect, which all of them share", async () => {
    const keys = ["group:sum-a", "group:sum-b"];
    const rooms = [await world.room("group:sum-a", ["sumi"]), await world.room("group:sum-b", ["sumi"])];
    const subs: Record<string, unknown> = {};
    for (const [index, room] of rooms.entries()) {
      await world.say(room, ...Array.from({ length: 300 }, (_, n) => `m${n}`));
      subs[keys[index] ?? ""] = { recover: true, epoch: await epochOf(room), offset: 0 };
    }
    const raw = await connectRaw(node, await world.token("sumi"), subs);
    const reply = (await raw.reply(1)) as unknown as { connect: { subs: Record<string, Sub> } };
    raw.end();
    const recovered = keys.map((key) => reply.connect.subs[key]?.recovered).sort();
    expect(recovered).toEqual([false, true]);
  });

  test("recovers from a stream that Redis lost", async () => {
    const room = await world.room("group:lost-stream", ["ada"]);
    await world.say(room, "1", "2", "3");
    const epoch = await epochOf(room);
    await world.redis.del(roomStreamKey(room.id, epoch));
    const sub = await recover("group:lost-stream", "ada", { epoch, offset: 1 });
    expect(sub.publications?.map(({ offset }) => offset)).toEqual([2, 3]);
  });

  test("recovers from a stream that does not have the last entries yet", async () => {
    const room = await world.room("group:behind", ["ada"]);
    await world.say(room, "1");
    await world.append(room, ["2", "3"]);
    const sub = await recover("group:behind", "ada", { epoch: await epochOf(room), offset: 1 });
    expect(sub.publications?.map(({ offset }) => offset)).toEqual([2, 3]);
  });

  test("recovers user events of its own channel", async () => {
    const userId = await world.user("ulla");
    const first = await publishUserEvent(world.redis, userId, { type: "room.removed", room: "group:a" });
    await publishUserEvent(world.redis, userId, { type: "room.removed", room: "group:b" });
    const sub = await recover("user:ulla", "ulla", first);
    expect(sub).toMatchObject({ recovered: true, publications: [{ offset: 2 }] });
    expect(await recover("user:ulla", "ulla", { ...first, epoch: newFence() })).toMatchObject(lost);
  });

  test("may ask for an error instead of a subscription without the entries that it missed", async () => {
    const room = await world.room("group:strict", ["ada"]);
    await world.say(room, "1");
    const raw = await connectRaw(node, await world.token("ada"));
    raw.send({ id: 2, unsubscribe: { channel: "group:strict" } });
    raw.send({
      id: 3,
      subscribe: { channel: "group:strict", recover: true, epoch: "no", offset: 0, flag: 2 },
    });
    expect((await raw.reply(3)).error?.code).toBe(112);
    raw.end();
  });

  test("receives every message once while its connection breaks again and again", async () => {
    const room = await world.room("group:drops", ["ada", "bob"]);
    const bob = await connectListener(node, await world.token("bob"));
    const over = new AbortController();
    let said = 0;
    const talk = (async () => {
      // A fast machine posts 150 messages before the client has reconnected often enough.
      for (; said < 150 || bob.connecting.length <= 3; said++) await world.say(room, `m${said}`);
      over.abort();
    })();
    while (!over.signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      dropTransport(bob.client);
    }
    await talk;
    await waitFor(() => bob.publications.length >= said);
    expect(bob.texts("group:drops")).toEqual(Array.from({ length: said }, (_, n) => `m${n}`));
    expect(bob.connecting.length).toBeGreaterThan(3);
  });

  test("misses nothing when its process is killed and another one takes the port", async () => {
    const room = await world.room("group:killed", ["kim"]);
    const doomed = await world.node();
    const kim = await connectListener(doomed, await world.token("kim"));
    await world.say(room, "1");
    await waitFor(() => kim.publications.length === 1);
    doomed.child.kill("SIGKILL");
    await world.say(room, "2", "3");
    await doomed.stop();
    const next = await world.node({ port: doomed.port });
    await waitFor(() => kim.publications.length >= 3);
    expect(kim.texts("group:killed")).toEqual(["1", "2", "3"]);
    kim.client.disconnect();
    await next.stop();
  });
});

function dropTransport(client: object): void {
  const transport: unknown = Reflect.get(client, "_transport");
  const socket: unknown =
    transport && typeof transport === "object" ? Reflect.get(transport, "_transport") : null;
  if (socket && typeof socket === "object" && "terminate" in socket)
    (socket as { terminate: () => void }).terminate();
}

/** Appends messages and writes them to the stream without publishing them. */
async function appendUnpublished(room: Room, ...texts: string[]): Promise<void> {
  await world.append(room, texts);
  const epoch = await epochOf(room);
  for (const row of await readEntries(world.db, [{ roomId: room.id, epoch, after: 0, limit: 100 }]))
    await world.redis.xadd(
      roomStreamKey(room.id, epoch),
      `${row.number}-0`,
      "m",
      JSON.stringify(formatLive(row, { epoch, scrubs: 0 })),
    );
}

describe("while a client is connected", () => {
  test("a hole is filled before the entry that follows it is delivered", async () => {
    const room = await world.room("group:hole", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    await appendUnpublished(room, "1", "2");
    await world.say(room, "3");
    await waitFor(() => ada.texts("group:hole").length === 3);
    expect(ada.texts("group:hole")).toEqual(["1", "2", "3"]);
  });

  test("a room without further messages becomes complete too", async () => {
    const room = await world.room("group:quiet", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    await appendUnpublished(room, "lost");
    await waitFor(() => ada.texts("group:quiet").length === 1);
  });

  test("a removal in a hole unsubscribes the removed user before the following entries are delivered", async () => {
    const room = await world.room("group:hole-left", ["ada", "lee"]);
    const ada = await connectListener(node, await world.token("ada"));
    const lee = await connectListener(node, await world.token("lee"));
    await world.remove(room, "lee", { hasEntry: false });
    await appendUnpublished(room, "1");
    await waitFor(() => ada.texts("group:hole-left").length === 1);
    await waitFor(() => lee.unsubscribed.includes("group:hole-left"));
    await world.say(room, "2");
    await waitFor(() => ada.texts("group:hole-left").length === 2);
    expect(lee.texts("group:hole-left")).not.toContain("2");
  });

  test("a process that is 3,000 entries behind delivers them in order, and closes nobody", async () => {
    const room = await world.room("group:far-behind", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    const texts = Array.from({ length: 3_000 }, (_, n) => `m${n + 1} ${"x".repeat(500)}`);
    await world.append(room, texts);
    // The stream begins with the newest entries, and those alone are published.
    await world.publish(room);
    await waitFor(() => ada.texts("group:far-behind").length >= 3_000);
    expect(ada.texts("group:far-behind")).toEqual(texts);
    expect(ada.connecting).toHaveLength(1);
    expect(ada.unsubscribed).toEqual([]);
  });

  test("a removal that only Postgres has unsubscribes the removed user before the following entries are delivered", async () => {
    const room = await world.room("group:unread-left", ["ada", "lee"]);
    const ada = await connectListener(node, await world.token("ada"));
    const lee = await connectListener(node, await world.token("lee"));
    await world.append(room, ["before"]);
    await world.remove(room, "lee", { isPublished: false });
    await world.append(
      room,
      Array.from({ length: 400 }, (_, n) => `after ${n}`),
    );
    await world.publish(room);
    await waitFor(() => ada.offsets("group:unread-left").length === 402);
    await waitFor(() => lee.unsubscribed.includes("group:unread-left"));
    expect(lee.texts("group:unread-left")).toEqual(["before"]);
    expect(ada.offsets("group:unread-left")).toEqual(Array.from({ length: 402 }, (_, n) => n + 1));
  });

  test("a hole that Postgres cannot fill makes the client load everything", async () => {
    const room = await world.room("group:abyss", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    await world.db("room_timeline").where({ room_id: room.id }).update({ last_number: 900 });
    await world.append(room, ["901"]);
    await world.publish(room);
    await waitFor(() => ada.connecting.includes(3010));
    await waitFor(() => ada.subscribed.filter(({ channel }) => channel === "group:abyss").length === 2);
    const again = ada.subscribed.filter(({ channel }) => channel === "group:abyss").at(-1);
    expect(again).toMatchObject({ wasRecovering: true, recovered: false, streamPosition: { offset: 901 } });
  });

  test("a new epoch makes the client load everything", async () => {
    const room = await world.room("group:epoch", ["ada"]);
    const ada = await connectListener(node, await world.token("ada"));
    await world.say(room, "1");
    const epoch = newFence();
    await world.db("room_timeline").where({ room_id: room.id }).update({ epoch });
    await world.say(room, "2");
    await waitFor(() => ada.connecting.includes(3010));
    await waitFor(() => ada.subscribed.some(({ streamPosition }) => streamPosition?.epoch === epoch));
  });

  test("a subscription that the client made ends with a code to subscribe again when there is a hole", async () => {
    const room = await world.room("group:own", ["olga"]);
    const olga = await connectListener(node, await world.token("olga"));
    const raw = await connectRaw(node, await world.token("olga"));
    raw.send({ id: 2, unsubscribe: { channel: "group:own" } });
    raw.send({ id: 3, subscribe: { channel: "group:own" } });
    await raw.reply(3);
    await world.db("room_timeline").where({ room_id: room.id }).update({ epoch: newFence() });
    await world.say(room, "1");
    await waitFor(() => raw.replies.some(({ push }) => push && "unsubscribe" in push));
    expect(raw.replies.find(({ push }) => push && "unsubscribe" in push)?.push).toMatchObject({
      unsubscribe: { code: 2500 },
    });
    expect(raw.closeCode).toBeNull();
    olga.client.disconnect();
    raw.end();
  });

  test("rights are checked again: an added room is subscribed and a removed one is unsubscribed, without a control message", async () => {
    const added = await world.room("group:newly-added", ["pia"]);
    const removed = await world.room("group:removed", ["max"]);
    const max = await connectListener(node, await world.token("max"));
    await world.remove(removed, "max", { hasEntry: false });
    await world.db("memberships").insert({
      room_id: added.id,
      user_id: await world.user("max"),
      tenant_id: world.tenant.id,
      role: "member",
    });
    await waitFor(() => max.unsubscribed.includes("group:removed"));
    await waitFor(() => max.subscribed.some(({ channel }) => channel === "group:newly-added"));
    await world.say(added, "hello");
    await waitFor(() => max.texts("group:newly-added").length === 1);
  });

  test("a room from which the client unsubscribed stays unsubscribed", async () => {
    const room = await world.room("group:opted-out", ["ned"]);
    const raw = await connectRaw(node, await world.token("ned"));
    raw.send({ id: 2, unsubscribe: { channel: "group:opted-out" } });
    await raw.reply(2);
    const other = await world.room("group:ned-other", []);
    await world.add(other, "ned");
    await waitFor(() => raw.replies.some(({ push }) => push?.["channel"] === "group:ned-other"));
    await new Promise((resolve) => setTimeout(resolve, 700));
    await world.say(room, "not received");
    raw.send({ id: 9, ping: {} });
    await raw.reply(9);
    const later = raw.replies.slice(raw.replies.findIndex(({ id }) => id === 2));
    expect(later.filter(({ push }) => push?.["channel"] === "group:opted-out")).toEqual([]);
    raw.end();
  });

  test("a locked user is disconnected for good", async () => {
    const quin = await connectListener(node, await world.token("quin"));
    await world
      .db("users")
      .where({ id: await world.user("quin") })
      .update({ status: "locked" });
    await waitFor(() => quin.disconnected.length > 0);
    expect(quin.disconnected).toEqual([3503]);
  });

  test("a revoked token's connection is closed though the control message was lost", async () => {
    const rhea = await connectListener(node, await world.ownToken("rhea"));
    await world.revoke("rhea", { isPublished: false });
    const later = await connectListener(node, await world.ownToken("rhea"));
    await waitFor(() => rhea.disconnected.length > 0);
    expect([rhea.disconnected, later.disconnected]).toEqual([[3503], []]);
  });

  test("the users of a paused tenant are disconnected with the code that a new connect gets", async () => {
    const other = await world.otherTenant();
    const rosa = await connectListener(node, await other.token("rosa"));
    await world.db("tenants").where({ id: other.tenant.id }).update({ status: "paused" });
    await waitFor(() => rosa.disconnected.length > 0);
    expect(rosa.disconnected).toEqual([3500]);
  });
});

test("a flushed Redis loses nothing of a room", async () => {
  const room = await world.room("group:flushed", ["ada"]);
  const ada = await connectListener(node, await world.token("ada"));
  await world.say(room, "1", "2");
  await world.redis.flushdb();
  await world.append(room, ["3"]);
  await waitFor(() => ada.texts("group:flushed").length === 3);
  const sub = await recover("group:flushed", "ada", { epoch: await epochOf(room), offset: 0 });
  expect(sub.publications?.map(({ offset }) => offset)).toEqual([1, 2, 3]);
});

test("a client receives the entries that it missed though Redis was flushed, up to the limit of bytes", async () => {
  const room = await world.room("group:flushed-many", ["ada"]);
  await world.say(room, ...Array.from({ length: 1_000 }, (_, n) => `m${n + 1}`));
  await world.redis.flushdb();
  const epoch = await epochOf(room);
  expect(await recover("group:flushed-many", "ada", { epoch, offset: 0 })).toMatchObject(lost);
  const sub = await recover("group:flushed-many", "ada", { epoch, offset: 700 });
  expect(sub).toMatchObject({ recovered: true, offset: 700 });
  expect(sub.publications?.map(({ offset }) => offset)).toEqual(
    Array.from({ length: 300 }, (_, n) => n + 701),
  );
});
