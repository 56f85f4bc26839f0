import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { once } from "node:events";
import { LIMITS } from "../../realtime/limits.ts";
import { PresenceChanges } from "../../realtime/presence/presence-changes.ts";
import { execute } from "../../shared/db/connection/open.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { readPresence } from "../../shared/timeline/signs/presence.ts";
import { closeListeners, connectListener, waitFor, type Listener } from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 6 });
});
afterEach(async () => {
  closeListeners();
  await world.stopNodes();
  await world.redis.flushdb();
});
afterAll(() => world.close());

const connect = async (node: RealtimeNode, user: string) => connectListener(node, await world.token(user));

/** What a listener received last of who is present in a room. */
function present({ presence }: Listener, room: string): string | undefined {
  const last = presence.findLast(({ channel }) => channel === room);
  return last && [last.online, ...(last.users ?? ["nobody named"])].join(" ");
}

const read = (room: Room, members = 2) =>
  readPresence(world.redis, { room_id: room.id, member_count: members });

async function setMembers(room: Room, count: number): Promise<void> {
  await execute(world.db, "update rooms set member_count = ? where id = ?", [count, room.id]);
}

const updates = (node: RealtimeNode) => node.metric("omc_realtime_presence_updates_total");

test("members with sockets on two processes are present, each once, until their last socket closes", async () => {
  const room = await world.room("group:two-processes", ["ada", "bea", "cleo"]);
  const limits = { presenceMs: 200 };
  const [one, other] = await Promise.all([world.node({ limits }), world.node({ limits })]);
  const bea = await connect(other, "bea");
  const [first, second] = [await connect(one, "ada"), await connect(other, "ada")];
  await waitFor(() => present(bea, "group:two-processes") === "2 ada bea");
  expect(await read(room)).toEqual({ online: 2, users: ["ada", "bea"] });
  second.client.disconnect();
  await world.say(room, "a message of a room where nobody comes or goes");
  await waitFor(async () => (await other.metric("omc_realtime_connections")) === 1);
  first.client.disconnect();
  await waitFor(() => present(bea, "group:two-processes") === "1 bea");
  const lists = bea.presence.map(({ users = [] }) => users.join(" "));
  expect(lists.filter((list) => list === "ada bea")).toHaveLength(1);
});

test("people who come one after the other are one publication in five seconds", async () => {
  await world.room("group:pace", ["ada", "bea", "cleo", "dan"]);
  const node = await world.node();
  const ada = await connect(node, "ada");
  await waitFor(() => present(ada, "group:pace") === "1 ada");
  const firstAtMs = Date.now();
  for (const user of ["bea", "cleo", "dan"]) await connect(node, user);
  await waitFor(() => present(ada, "group:pace") === "4 ada bea cleo dan");
  expect(Date.now() - firstAtMs).toBeGreaterThan(4_500);
  expect(ada.presence.filter(({ channel }) => channel === "group:pace")).toHaveLength(2);
});

test("a room of more than 100 members shows a count, at most once in thirty seconds", async () => {
  const room = await world.room("group:big", ["ada", "bea"]);
  await setMembers(room, 101);
  const node = await world.node({ limits: { presenceInBigRoomMs: 3_000, presenceMs: 100 } });
  const ada = await connect(node, "ada");
  await waitFor(() => present(ada, "group:big") === "1 nobody named");
  const firstAtMs = Date.now();
  await connect(node, "bea");
  await waitFor(async () => (await read(room, 101)).online === 2);
  expect(await read(room, 101)).toEqual({ online: 2 });
  await waitFor(() => present(ada, "group:big") === "2 nobody named");
  expect(Date.now() - firstAtMs).toBeGreaterThan(2_500);
  expect(LIMITS.presenceInBigRoomMs).toBe(30_000);
});

test("the people of a process that was killed go with its lease, within a minute in the biggest room", async () => {
  const room = await world.room("group:killed", ["ada", "bea"]);
  const limits = { presenceMs: 200, presenceLeaseMs: 3_000 };
  const [one, other] = await Promise.all([world.node({ limits }), world.node({ limits })]);
  const ada = await connect(one, "ada");
  await connect(other, "bea");
  await waitFor(() => present(ada, "group:killed") === "2 ada bea");
  other.child.kill("SIGKILL");
  await once(other.child, "exit");
  await waitFor(() => present(ada, "group:killed") === "1 ada");
  expect(await read(room)).toEqual({ online: 1, users: ["ada"] });
  // Its lease ends, another process sees that at its next renewal and goes through its rooms, the room's pause is over.
  const { presenceLeaseMs, presenceInBigRoomMs } = LIMITS;
  expect(presenceLeaseMs + presenceLeaseMs / 3 + presenceInBigRoomMs).toBeLessThan(60_000);
});

test("who is removed from a room is present in it no more, and in the others still", async () => {
  const [left, kept] = [
    await world.room("group:left", ["ada", "bea"]),
    await world.room("group:kept", ["ada", "bea"]),
  ];
  const node = await world.node({ limits: { presenceMs: 100 } });
  const ada = await connect(node, "ada");
  await connect(node, "bea");
  await waitFor(() => present(ada, "group:left") === "2 ada bea");
  await world.remove(left, "bea");
  await waitFor(() => present(ada, "group:left") === "1 ada");
  expect(await read(kept)).toEqual({ online: 2, users: ["ada", "bea"] });
});

test("everybody is present again after Redis has lost its data", async () => {
  const room = await world.room("group:lost", ["ada", "bea"]);
  const node = await world.node({ limits: { presenceMs: 100, presenceLeaseMs: 1_500 } });
  const ada = await connect(node, "ada");
  await connect(node, "bea");
  await waitFor(() => present(ada, "group:lost") === "2 ada bea");
  await world.redis.flushdb();
  await waitFor(async () => (await read(room)).online === 2);
});

test("messages, and rooms where nobody comes or goes, cost presence no command", async () => {
  const room = await world.room("group:still", ["gil", "hal"]);
  const node = await world.node({ limits: { presenceMs: 100 } });
  const gil = await connect(node, "gil");
  await waitFor(() => present(gil, "group:still") === "1 gil");
  const before = await updates(node);
  for (let count = 1; count <= 20; count++) await world.say(room, `message ${count}`);
  await waitFor(() => gil.texts("group:still").length === 20);
  // The next one who comes is one more command: the messages before made none.
  await connect(node, "hal");
  await waitFor(() => present(gil, "group:still") === "2 gil hal");
  expect((await updates(node)) - before).toBeLessThanOrEqual(2);
});

test("changes of one room are one change, which is said as a whole when very many come", () => {
  const changes = new PresenceChanges();
  const topic = { ref: { kind: "room", id: "r", channel: "group:many" }, members: 2_000 } as const;
  const userRef = (number: number) =>
    ({ kind: "user", id: `u${number}`, channel: `user:${number}` }) as const;
  changes.note(topic, userRef(1));
  changes.note(topic, userRef(1));
  const [one] = changes.take(0, 10);
  expect([...(one?.users ?? [])]).toEqual([["u1", "1"]]);
  if (one) changes.putBack(one, 500);
  for (let number = 0; number < 1_500; number++) changes.note(topic, userRef(number));
  expect(changes.take(499, 10)).toEqual([]);
  expect(changes.take(500, 10)).toMatchObject([{ users: null, members: 2_000 }]);
  expect(changes.rooms).toBe(0);
});
