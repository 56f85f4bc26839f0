import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import {
  closeListeners,
  connectListener,
  connectRaw,
  waitFor,
  type RawSocket,
} from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";

let world: World;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 11 });
  node = await world.node({ limits: { antiEntropyMs: 300 } });
});
afterEach(() => {
  closeListeners();
});
afterAll(() => world.close());

/** Writes how far Matrix has followed, as the sync workers do. */
async function writeSent(room: Room, number: number): Promise<void> {
  await world
    .db("room_mirrors")
    .insert({ room_id: room.id, tenant_id: world.tenant.id, sent_number: number })
    .onConflict("room_id")
    .merge();
}

async function publishSent(room: Room, number: number): Promise<void> {
  const [place] = await readPositions(world.db, [room.id]);
  const data = JSON.stringify({ type: "sent", room: formatRoomKey(room), number });
  const live = { number: null, after: number, epoch: place?.epoch, leaver: null, data };
  await world.redis.publish(roomLiveChannel(room.id), JSON.stringify(live));
}

/** The names of what a raw socket received of a channel, in order: `sent 3`, `entry 2`, or the kind of the reply or push. */
function received({ replies }: RawSocket, channel: string): string[] {
  return replies.flatMap(({ id, push, connect }) => {
    if (connect) return ["connect"];
    if (id !== undefined) return [`reply ${id}`];
    if (push?.["channel"] !== channel) return [];
    const pub = push["pub"] as { data: { type: string; number: number } } | undefined;
    if (!pub) return [Object.keys(push).find((key) => key !== "channel") ?? ""];
    return [pub.data.type === "sent" ? `sent ${pub.data.number}` : `entry ${pub.data.number}`];
  });
}

test("a client that connects receives how far Matrix has followed each of its rooms, in the frame of the reply", async () => {
  const followed = await world.room("group:followed", ["ada"]);
  await world.room("group:empty", ["ada"]);
  await world.say(followed, "1", "2", "3");
  await writeSent(followed, 2);
  const raw = await connectRaw(node, await world.token("ada"));
  const frames = raw.frames[0]?.split("\n").map((text) => JSON.parse(text) as unknown);
  expect(frames).toHaveLength(3);
  expect(frames?.[0]).toMatchObject({ id: 1 });
  expect(frames?.slice(1)).toEqual(
    expect.arrayContaining([
      {
        push: {
          channel: "group:followed",
          pub: { data: { type: "sent", room: "group:followed", number: 2 } },
        },
      },
      { push: { channel: "group:empty", pub: { data: { type: "sent", room: "group:empty", number: 0 } } } },
    ]),
  );
  raw.end();
});

test("a client that subscribes, and one that is subscribed, receive how far Matrix has followed right after it", async () => {
  const room = await world.room("group:after", ["bea"]);
  await world.say(room, "1");
  await writeSent(room, 1);
  const raw = await connectRaw(node, await world.token("bea"));
  raw.send({ id: 2, unsubscribe: { channel: "group:after" } });
  raw.send({ id: 3, subscribe: { channel: "group:after" } });
  await waitFor(() => received(raw, "group:after").length === 5);
  expect(received(raw, "group:after")).toEqual(["connect", "sent 1", "reply 2", "reply 3", "sent 1"]);
  const added = await world.room("group:after-added", []);
  await world.say(added, "1", "2");
  await writeSent(added, 1);
  await world.add(added, "bea");
  await waitFor(() => received(raw, "group:after-added").includes("sent 1"));
  expect(received(raw, "group:after-added").slice(-2)).toEqual(["subscribe", "sent 1"]);
  raw.end();
});

test("a client that recovers receives what it missed before how far Matrix has followed", async () => {
  const room = await world.room("group:recovers", ["cleo"]);
  const cleo = await connectListener(node, await world.token("cleo"));
  await waitFor(() => cleo.sent.length === 1);
  const order: string[] = [];
  cleo.client.on("publication", ({ data, offset }) => {
    order.push(offset === undefined ? `sent ${(data as { number: number }).number}` : `entry ${offset}`);
  });
  cleo.client.disconnect();
  await world.say(room, "1", "2");
  await writeSent(room, 2);
  cleo.client.connect();
  await waitFor(() => order.length === 3);
  expect(order).toEqual(["entry 1", "entry 2", "sent 2"]);
});

test("a subscriber receives how far Matrix has followed after the entry of that number, and never a smaller number", async () => {
  const room = await world.room("group:forward", ["dan"]);
  await world.say(room, "1", "2");
  const raw = await connectRaw(node, await world.token("dan"));
  await world.append(room, ["3"]);
  await publishSent(room, 3);
  await world.publish(room);
  await waitFor(() => received(raw, "group:forward").includes("sent 3"));
  await publishSent(room, 2);
  await publishSent(room, 3);
  await world.say(room, "4");
  await publishSent(room, 4);
  await waitFor(() => received(raw, "group:forward").includes("sent 4"));
  expect(received(raw, "group:forward")).toEqual([
    "connect",
    "sent 0",
    "entry 3",
    "sent 3",
    "entry 4",
    "sent 4",
  ]);
  raw.end();
});

test("a number that was read with the rights is not followed by a smaller one that is published late", async () => {
  const room = await world.room("group:late-sent", ["eli", "fay"]);
  await world.say(room, "1", "2", "3");
  await writeSent(room, 1);
  const eli = await connectRaw(node, await world.token("eli"));
  await writeSent(room, 3);
  const fay = await connectRaw(node, await world.token("fay"));
  await publishSent(room, 2);
  await waitFor(() => received(eli, "group:late-sent").includes("sent 3"));
  await world.say(room, "4");
  await waitFor(() => [eli, fay].every((raw) => received(raw, "group:late-sent").includes("entry 4")));
  expect(received(eli, "group:late-sent")).toEqual(["connect", "sent 1", "sent 3", "entry 4"]);
  const sentToFay = received(fay, "group:late-sent").filter((name) => name.startsWith("sent"));
  expect(new Set(sentToFay)).toEqual(new Set(["sent 3"]));
  eli.end();
  fay.end();
});

test("a subscriber receives the last number though its publication was lost", async () => {
  const room = await world.room("group:lost-sent", ["gus"]);
  await world.say(room, "1");
  const gus = await connectListener(node, await world.token("gus"));
  await writeSent(room, 1);
  await waitFor(() => gus.sent.some(({ number }) => number === 1));
});
