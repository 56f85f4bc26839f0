import { expect, test } from "@jest/globals";
import type { Socket } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();

/** Expects numbers without a gap and without a duplicate. */
function expectContiguous(numbers: readonly number[]): void {
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
}

function sayings(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `saying ${from + index}`);
}

test("a socket that was offline during forty messages receives each of them once", async () => {
  const { tenant } = journey;
  const room = "group:returning";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const [adas, bobs] = [await tenant.socket(ada), await tenant.socket(bob)];
  for (const text of sayings(1, 3)) await ada.say(room, text);
  await bobs.waitFor("three messages are received", () => bobs.texts(room).length === 3);

  bobs.goAway();
  await Promise.all(sayings(4, 43).map((text) => ada.say(room, text)));
  await adas.waitFor("ada received forty", () => adas.texts(room).length === 43);
  await bobs.comeBack();
  await bobs.waitFor("bob received forty", () => bobs.texts(room).length >= 43);
  await ada.say(room, "after");
  await bobs.waitFor("bob received the message after them", () => bobs.texts(room).includes("after"));

  expect(bobs.subscription(room)).toMatchObject({ wasRecovering: true, recovered: true });
  expect(bobs.texts(room)).toEqual([...adas.texts(room).filter((text) => text !== "after"), "after"]);
  expectContiguous(bobs.numbers(room));
});

test("a socket that was offline during more than a recovery brings is not recovered, and the list returns all of it", async () => {
  const { tenant } = journey;
  const room = "group:long-away";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const bobs = await tenant.socket(bob);
  await ada.say(room, "before");
  await bobs.waitFor("bob receives it", () => bobs.texts(room).includes("before"));
  const lastReceived = bobs.numbers(room).at(-1) ?? 0;

  bobs.goAway();
  // Together more than 256 KB.
  const texts = sayings(1, 30).map((text) => text.padEnd(10_000, "."));
  for (const text of texts) await ada.say(room, text);
  await bobs.comeBack();

  expect(bobs.subscription(room)).toMatchObject({ wasRecovering: true, recovered: false });
  const page = await bob.read(room, `?after=${lastReceived}`);
  expect(page.items.map(({ text }) => text)).toEqual(texts);
  expect(bobs.subscription(room)?.streamPosition).toMatchObject({ epoch: page.epoch, offset: page.offset });
  await ada.say(room, "and on");
  await bobs.waitFor("bob receives the next message", () => bobs.texts(room).includes("and on"));
});

test.each([60, 160])(
  "a socket receives %d messages at once while the sync worker is down, and learns that Matrix has them when it is back",
  async (count) => {
    const { tenant, synapse } = journey;
    const room = `group:gap-${count}`;
    const [ada, bob] = await tenant.people("ada", "bob");
    await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
    await bob.say(room, "before");
    await tenant.settled(room);
    const socket = await tenant.socket(bob);
    const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];

    await journey.tier("sync").stop();
    for (let sent = 0; sent < count; sent += 20) {
      await Promise.all(sayings(sent + 1, sent + 20).map((text) => ada.say(room, text)));
    }
    await journey.waitFor(
      "all are on Matrix",
      async () => (await synapse.texts(observer, matrixRoomId)).length === count + 1,
      60_000,
    );
    await socket.waitFor("all are received", () => socket.texts(room).length === count);
    expect((await bob.read(room)).sentUpTo).toBeLessThan(socket.numbers(room)[0] ?? 0);
    await journey.tier("sync").start();
    await ada.say(room, "after");

    await socket.waitFor("all messages are received", () => socket.texts(room).includes("after"), 40_000);
    await tenant.settled(room);
    await journey.waitFor("all are sent", async () => {
      const page = await bob.read(room);
      return page.sentUpTo === page.offset;
    });
    await expectAsOnMatrix(room, socket, 1);
    // More messages than one response of the homeserver holds: they were read through a gap.
    expect((await journey.tier("sync").metric("omc_gaps_total")) > 0).toBe(count > 100);
    expect((await bob.readAll(room)).map(({ text }) => text)).toEqual(["before", ...socket.texts(room)]);
  },
  120_000,
);

/** Expects that a socket received the messages on Matrix in the same order, without the first `skipped`. */
async function expectAsOnMatrix(room: string, socket: Socket, skipped: number): Promise<void> {
  const { tenant, synapse } = journey;
  const onMatrix = await synapse.texts(await tenant.observer(), await tenant.matrixRoomId(room));
  expect(socket.texts(room)).toEqual(onMatrix.slice(skipped).map(({ body }) => body));
  expectContiguous(socket.numbers(room));
}

test("messages posted while the workers are down are in the room, queued, and are sent in order when they are back", async () => {
  const { tenant, synapse } = journey;
  const room = "group:patience";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const socket = await tenant.socket(bob);

  await journey.tier("workers").stop();
  for (const text of sayings(1, 5)) await ada.say(room, text);
  await socket.waitFor("five are received", () => socket.texts(room).length === 5);
  const statuses = async () => (await bob.read(room)).items.map(({ text, status }) => [text, status]);
  expect(await statuses()).toEqual(sayings(1, 5).map((text) => [text, "queued"]));
  await journey.tier("workers").start();

  await tenant.settled(room);
  expect(await statuses()).toEqual(sayings(1, 5).map((text) => [text, "sent"]));
  expect(socket.texts(room)).toEqual(sayings(1, 5));
  const onMatrix = await synapse.texts(await tenant.observer(), await tenant.matrixRoomId(room));
  expect(onMatrix.map(({ body }) => body)).toEqual(sayings(1, 5));
});

test("unsent messages of a removed member stay in the room and are never sent, and every member receives their failure", async () => {
  const { tenant, synapse } = journey;
  const room = "group:last-words";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const socket = await tenant.socket(ada);

  await journey.tier("workers").stop();
  const message = await bob.say(room, "too late");
  await tenant.server.removeMember(room, "bob");
  await journey.tier("workers").start();
  await ada.say(room, "in time", { waitS: 20 });

  await socket.waitFor("ada's message is received", () => socket.texts(room).includes("in time"));
  expect(socket.texts(room)).toEqual(["too late", "in time"]);
  const failed = socket.received.flatMap(({ data }) => (data.type === "message.failed" ? [data] : []));
  const error = { code: "sender_removed" };
  expect(failed).toMatchObject([{ room, message: message.id, act: "message", error }]);
  expect((await ada.read(room)).items.map(({ text, status }) => [text, status])).toEqual([
    ["too late", "dead"],
    ["in time", "sent"],
  ]);
  const onMatrix = await synapse.texts(await tenant.observer(), await tenant.matrixRoomId(room));
  expect(onMatrix.map(({ body }) => body)).toEqual(["in time"]);
});

test("a user's own channel delivers the rooms that the user joins and leaves, also those that were missed offline", async () => {
  const { tenant } = journey;
  const [cleo] = await tenant.people("cleo");
  await tenant.server.putRoom("group:joined-1");
  await tenant.server.putRoom("group:joined-2");
  const socket = await tenant.socket(cleo);
  const userEvents = () => socket.in("user:cleo").map(({ data }) => data.type);

  await tenant.server.putMember("group:joined-1", "cleo");
  await socket.waitFor("the room is added", () => userEvents().length === 1);
  await socket.waitFor("it is subscribed", () => socket.subscription("group:joined-1") !== undefined);
  socket.goAway();
  await tenant.server.putMember("group:joined-2", "cleo");
  await tenant.server.removeMember("group:joined-1", "cleo");
  await journey.waitFor("the user-event outbox is empty", async () => {
    return (await journey.sql("select 1 as left from notices")).length === 0;
  });
  await socket.comeBack();

  await socket.waitFor("the missed user events are received", () => userEvents().length >= 3);
  expect(userEvents()).toEqual(["room.added", "room.added", "room.removed"]);
  expect(socket.subscription("group:joined-2")).toBeDefined();
  expect(socket.left).toContain("group:joined-1");
});
