import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { renameRooms } from "../../shared/db/rooms/names/rename-rooms.ts";
import { findRoom, lockOutboxes, lockTimelines, type Room } from "../../shared/db/rooms/rooms.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import {
  closeListeners,
  connectListener,
  connectRaw,
  waitFor,
  type Listener,
} from "../support/centrifuge.ts";
import { openWorld, type RealtimeNode, type World } from "../support/realtime.ts";

let world: World;
let node: RealtimeNode;
beforeAll(async () => {
  world = await openWorld({ redisDatabase: 13 });
  node = await world.node();
});
afterEach(() => {
  closeListeners();
});
afterAll(() => world.close());

/** Renames a room as the api does. Returns it under its new name. */
async function rename(room: Room, slug: string, { isPublished = true } = {}): Promise<Room> {
  const { id: tenantId } = world.tenant;
  await world.db.transaction(async (trx) => {
    await lockOutboxes(trx, tenantId, [room.id]);
    await lockTimelines(trx, tenantId, [room.id]);
    await renameRooms(trx, tenantId, [{ roomId: room.id, kind: room.kind, slug }]);
  });
  if (isPublished) {
    await world.publish(room);
    await publishUserEventOutbox(world, 100);
  }
  const renamed = await findRoom(world.db, tenantId, { kind: room.kind, slug });
  if (!renamed) throw new Error("the room was not renamed");
  return renamed;
}

const follows = ({ subscribed }: Listener, channel: string) =>
  subscribed.some((context) => context.channel === channel);

test("a rename ends the subscriptions of all members, begins those of the new channel, and no message is lost", async () => {
  const room = await world.room("group:before", ["ada", "bea"]);
  const people = [
    await connectListener(node, await world.token("ada")),
    await connectListener(node, await world.token("ada")),
    await connectListener(node, await world.token("bea")),
  ];
  await world.say(room, "before");
  await waitFor(() => people.every((person) => person.texts("group:before").length === 1));
  const renamed = await rename(room, "after");
  await waitFor(() => people.every((person) => follows(person, "group:after")));
  await world.say(renamed, "after");
  for (const person of people) {
    await waitFor(() => person.texts("group:after").length === 1);
    expect(person.unsubscribed).toEqual(["group:before"]);
    expect(person.offsets("group:after")).toEqual([2]);
    expect(person.disconnected).toEqual([]);
    const events = person.publications.flatMap(({ channel, data }) =>
      channel.startsWith("user:") ? [data as { type: string; room: unknown; movedTo?: string }] : [],
    );
    expect(events).toMatchObject([
      { type: "room.removed", room: "group:before", movedTo: "group:after" },
      { type: "room.added", room: { room: "group:after", slug: "after", lastMessage: null } },
    ]);
  }
});

test("the subscription of the former channel ends with 2000, and nobody subscribes to it again", async () => {
  const room = await world.room("group:code", ["cleo"]);
  const raw = await connectRaw(node, await world.token("cleo"));
  await rename(room, "recoded");
  await waitFor(() => raw.replies.some(({ push }) => push?.["subscribe"] !== undefined));
  const pushes = raw.replies.flatMap(({ push }) => (push ? [push] : []));
  expect(pushes).toContainEqual(
    expect.objectContaining({
      channel: "group:code",
      unsubscribe: expect.objectContaining({ code: 2000 }) as unknown,
    }),
  );
  raw.send({ id: 7, subscribe: { channel: "group:code" } });
  expect((await raw.reply(7)).error?.code).toBe(103);
  raw.end();
});

test("a member whose events were lost follows the room at the next check, and one who was away when it returns", async () => {
  const room = await world.room("group:missed", ["dan"]);
  const checked = await world.node({ limits: { antiEntropyMs: 300 } });
  const dan = await connectListener(checked, await world.token("dan"));
  await world.say(room, "one");
  await waitFor(() => dan.texts("group:missed").length === 1);
  const renamed = await rename(room, "found", { isPublished: false });
  await waitFor(() => follows(dan, "group:found"));
  expect(dan.unsubscribed).toEqual(["group:missed"]);
  dan.client.disconnect();
  await rename(renamed, "found-again", { isPublished: false });
  dan.client.connect();
  await waitFor(() => follows(dan, "group:found-again"));
  expect(dan.unsubscribed).toEqual(["group:missed", "group:found"]);
});
