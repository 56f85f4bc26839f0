import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { closeListeners, connectListener, connectRaw, waitFor } from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";
import { sendControlMessage, publishUserEvent } from "../../shared/timeline/user-stream.ts";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";

let world: World;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 5 });
  node = await world.node();
});
afterEach(() => {
  closeListeners();
});

/** Publishes an unnumbered event that follows the entry `after` of a room. */
async function publishUnnumbered(room: Room, text: string, after: number): Promise<void> {
  const [place] = await readPositions(world.db, [room.id]);
  const data = JSON.stringify({ type: "typing", text });
  const live = { number: null, after, epoch: place?.epoch, leaver: null, data };
  await world.redis.publish(roomLiveChannel(room.id), JSON.stringify(live));
}
afterAll(() => world.close());

describe("connecting", () => {
  test("a client that connects receives its subscriptions: the user's own channel and every room", async () => {
    const room = await world.room("group:chess", ["ada"]);
    await world.say(room, "one");
    const raw = await connectRaw(node, await world.token("ada"));
    const { connect } = await raw.reply(1);
    expect(connect).toEqual({
      client: expect.any(String),
      version: "test",
      expires: true,
      ttl: expect.any(Number),
      ping: 25,
      pong: true,
      session: expect.any(String),
      subs: {
        "user:ada": { recoverable: true, positioned: true, epoch: expect.any(String), offset: 0 },
        "group:chess": { recoverable: true, positioned: true, epoch: expect.any(String), offset: 1 },
      },
    });
    raw.end();
  });

  test("a subscriber receives the messages of a room in order, from the next entry on", async () => {
    const room = await world.room("group:live", ["ada", "bob"]);
    await world.say(room, "before");
    const bob = await connectListener(node, await world.token("bob"));
    for (let n = 1; n <= 20; n++) await world.say(room, `m${n}`);
    await waitFor(() => bob.publications.length >= 20);
    expect(bob.texts("group:live")).toEqual(Array.from({ length: 20 }, (_, n) => `m${n + 1}`));
    expect(bob.offsets("group:live")).toEqual(Array.from({ length: 20 }, (_, n) => n + 2));
  });

  test("a subscriber receives an unnumbered event without an offset", async () => {
    const room = await world.room("group:unnumbered", ["cy"]);
    const cy = await connectListener(node, await world.token("cy"));
    const message = {
      number: null,
      epoch: "any",
      leaver: null,
      data: '{"type":"typing","text":"soon"}',
    };
    await world.redis.publish(roomLiveChannel(room.id), JSON.stringify(message));
    await waitFor(() => cy.publications.length === 1);
    expect(cy.publications[0]).toEqual({
      channel: "group:unnumbered",
      data: { type: "typing", text: "soon" },
    });
  });

  test("a subscriber receives an unnumbered event right after the entry that it follows", async () => {
    const room = await world.room("group:behind", ["lou", "mel"]);
    const lou = await connectListener(node, await world.token("lou"));
    const mel = await connectListener(node, await world.token("mel"));
    await world.remove(room, "mel", { isPublished: false });
    await publishUnnumbered(room, "after the removal", 1);
    await world.publish(room);
    await waitFor(() => lou.publications.length === 2 && mel.unsubscribed.length === 1);
    expect(lou.publications.map(({ data }) => (data as { type: string }).type)).toEqual([
      "member.left",
      "typing",
    ]);
    expect(mel.publications).toEqual([]);
  });

  test("a subscriber receives an entry that was not published, and the unnumbered event after it, within seconds", async () => {
    const room = await world.room("group:unpublished", ["ora"]);
    const ora = await connectListener(node, await world.token("ora"));
    await world.append(room, ["lost on the way"]);
    await publishUnnumbered(room, "soon", 1);
    await waitFor(() => ora.publications.length === 2, 5_000);
    expect(ora.texts("group:unpublished")).toEqual(["lost on the way", "soon"]);
  });

  test("a user receives user events on the user's own channel", async () => {
    const dora = await connectListener(node, await world.token("dora"));
    await publishUserEvent(world.redis, await world.user("dora"), { type: "room.removed", room: "group:x" });
    await waitFor(() => dora.publications.length === 1);
    expect(dora.publications[0]).toMatchObject({
      channel: "user:dora",
      offset: 1,
      data: { type: "room.removed" },
    });
  });
});

describe("memberships", () => {
  test("an added member is subscribed and receives what follows", async () => {
    const room = await world.room("group:added", ["ada"]);
    const eve = await connectListener(node, await world.token("eve"));
    await world.say(room, "before");
    await world.add(room, "eve");
    await waitFor(() => eve.subscribed.some(({ channel }) => channel === "group:added"));
    await world.say(room, "after");
    await waitFor(() => eve.texts("group:added").includes("after"));
    expect(eve.texts("group:added")).toEqual(["after"]);
  });

  test("a removed member receives neither the removal nor anything after it, others receive both", async () => {
    const room = await world.room("group:removed", ["finn", "gil"]);
    const finn = await connectListener(node, await world.token("finn"));
    const gil = await connectListener(node, await world.token("gil"));
    await world.append(room, ["one"]);
    await world.remove(room, "finn");
    await world.say(room, "two");
    await waitFor(() => gil.offsets("group:removed").length === 3);
    await waitFor(() => finn.unsubscribed.length === 1);
    expect(finn.offsets("group:removed")).toEqual([1]);
    expect(gil.offsets("group:removed")).toEqual([1, 2, 3]);
  });

  test("a member who was removed and added again receives what follows, even when a late control message unsubscribes the room", async () => {
    const room = await world.room("group:again", ["hal"]);
    const hal = await connectListener(node, await world.token("hal"));
    const halId = await world.user("hal");
    await world.remove(room, "hal");
    await world.add(room, "hal");
    await sendControlMessage(world.redis, halId, { kind: "unsubscribe", roomId: room.id });
    await waitFor(() => hal.subscribed.filter(({ channel }) => channel === "group:again").length === 2);
    await world.say(room, "hello again");
    await waitFor(() => hal.texts("group:again").length === 1);
    expect(hal.texts("group:again")).toEqual(["hello again"]);
  });

  test("a control message that disconnects a user closes the connection for good", async () => {
    const ivy = await connectListener(node, await world.token("ivy"));
    await sendControlMessage(world.redis, await world.user("ivy"), { kind: "disconnect", code: 3503 });
    await waitFor(() => ivy.disconnected.length === 1);
    expect(ivy.disconnected).toEqual([3503]);
  });
});
