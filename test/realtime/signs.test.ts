import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { closeListeners, connectListener, waitFor, type Listener } from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";
import { readUpTo } from "../../shared/db/memberships/signs/positions.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { publishUnread, receiptsOf } from "../../shared/timeline/signs/publish-unread.ts";
import { publishReceipts } from "../../shared/timeline/signs/receipts.ts";
import { setTyping } from "../../shared/timeline/signs/typing.ts";

let world: World;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 12 });
  node = await world.node();
});
afterEach(() => {
  closeListeners();
});
afterAll(() => world.close());

type Received = { type: string; number?: number; users?: { user: string }[]; user?: { user: string } };

/** What a listener received of a channel, in order, with whether it had an offset. */
function received({ publications }: Listener, channel: string): [string, boolean][] {
  return publications
    .filter((publication) => publication.channel === channel)
    .map(({ data, offset }) => [describe(data as Received), offset !== undefined]);
}

function describe({ type, number, users, user }: Received): string {
  if (users) return `${type} ${users.map((person) => person.user).join(" ")}`.trim();
  return [type, user?.user, number].filter((part) => part !== undefined).join(" ");
}

async function type(room: Room, user: string, isTyping = true): Promise<void> {
  const ref = await world.user(user);
  const place = { kind: room.kind, slug: room.slug, room_id: room.id, member_count: 2 };
  const person = { ref, user, displayName: null, avatar: null };
  await setTyping(world.redis, place, { person, isTyping });
}

async function read(room: Room, user: string, number: number): Promise<void> {
  const position = await readUpTo(world.db, { roomId: room.id, userId: await world.user(user), number });
  if (!position) throw new Error(`${user} is not in the room`);
  await publishReceipts(world.redis, receiptsOf([position], { isForMatrix: false }));
  await publishUnread(world, [position]);
}

test("a subscriber receives who types as whole lists without an offset, and the end right after the person's message", async () => {
  const room = await world.room("group:typing", ["ada", "bea"]);
  const bea = await connectListener(node, await world.token("bea"));
  await type(room, "ada");
  await type(room, "bea");
  await world.say(room, "done");
  await waitFor(() => received(bea, "group:typing").length === 4);
  expect(received(bea, "group:typing")).toEqual([
    ["typing ada", false],
    ["typing ada bea", false],
    ["message.created 1", true],
    ["typing bea", false],
  ]);
});

test("a subscriber receives a receipt after the entry that it names, and the person's devices receive what is unread", async () => {
  const room = await world.room("group:receipts", ["ada", "cleo"]);
  const [ada, cleo] = [
    await connectListener(node, await world.token("ada")),
    await connectListener(node, await world.token("cleo")),
  ];
  await world.append(room, ["one", "two"]);
  await read(room, "cleo", 2);
  await waitFor(() => received(cleo, "user:cleo").length === 1);
  expect(received(ada, "group:receipts")).toEqual([]);
  await world.publish(room);
  await waitFor(() => received(ada, "group:receipts").length === 3);
  expect(received(ada, "group:receipts")).toEqual([
    ["message.created 1", true],
    ["message.created 2", true],
    ["receipt cleo 2", false],
  ]);
  expect(received(cleo, "user:cleo")).toEqual([["unread", true]]);
  expect(received(ada, "user:ada")).toEqual([]);
});

test("a person who is removed receives nobody's signs any more", async () => {
  const room = await world.room("group:removed-signs", ["ada", "dan", "eve"]);
  const [dan, eve] = [
    await connectListener(node, await world.token("dan")),
    await connectListener(node, await world.token("eve")),
  ];
  await type(room, "ada");
  await waitFor(() => received(dan, "group:removed-signs").length === 1);
  await world.remove(room, "dan");
  await type(room, "ada", false);
  await waitFor(() => received(eve, "group:removed-signs").length === 3);
  await waitFor(() => dan.unsubscribed.includes("group:removed-signs"));
  expect(received(dan, "group:removed-signs")).toEqual([["typing ada", false]]);
});
