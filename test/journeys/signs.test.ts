import { describe, expect, test } from "@jest/globals";
import type { Socket } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

/** Who types in a room, in each list that a socket received. */
function lists(socket: Socket, room: string): (string | null)[][] {
  return socket
    .in(room, { numbered: false })
    .flatMap(({ data }) =>
      data.type === "typing" ? [data.users.map(({ displayName }) => displayName)] : [],
    );
}

function receipts(socket: Socket, room: string): [string | null, number][] {
  return socket
    .in(room, { numbered: false })
    .flatMap(({ data }) => (data.type === "receipt" ? [[data.user.user, data.number]] : []));
}

describe.each(["events", "sync"])("with MATRIX_READ=%s", (reads) => {
  const journey = useJourney(() => Promise.resolve({ MATRIX_READ: reads }));

  /** A room in which ada uses our API and bob a plain Matrix client; both have written. */
  async function openRoom(slug: string) {
    const { tenant } = journey;
    const [ada, bob, cleo] = await tenant.people("ada", "bob", "cleo");
    const room = `group:${slug}`;
    await tenant.server.putRoom(room, { members: [ada, bob, cleo].map(({ user }) => ({ user })) });
    await ada.say(room, "hello from ada", { waitS: 20 });
    await bob.say(room, "hello from bob", { waitS: 20 });
    await tenant.settled(room);
    const matrixRoomId = await tenant.matrixRoomId(room);
    const [plain, socket] = await Promise.all([
      tenant.matrixLogin("bob").then((login) => NioClient.open(login)),
      tenant.socket(cleo),
    ]);
    const [adaOnMatrix, bobOnMatrix] = await Promise.all([
      tenant.matrixUserId("ada"),
      tenant.matrixUserId("bob"),
    ]);
    return { room, matrixRoomId, ada, bob, cleo, plain, socket, adaOnMatrix, bobOnMatrix };
  }

  test("a plain Matrix client sees who types here until the message comes, and a person who is not joined types here alone", async () => {
    const { room, matrixRoomId, ada, cleo, plain, socket, adaOnMatrix } = await openRoom("typing-out");
    await cleo.type(room, true);
    await ada.type(room, true);
    await journey.waitFor("ada types on Matrix", async () =>
      (await plain.signs(matrixRoomId)).typing.includes(adaOnMatrix),
    );
    expect((await plain.signs(matrixRoomId)).typing).toEqual([adaOnMatrix]);
    await cleo.type(room, false);
    const { number } = await ada.say(room, "done");
    await socket.waitFor("the message came", () => socket.numbers(room).includes(number ?? 0));
    expect(lists(socket, room)).toEqual([["cleo"], ["cleo", "ada"], ["ada"], []]);
    await journey.waitFor(
      "nobody types on Matrix",
      async () => (await plain.signs(matrixRoomId)).typing.length === 0,
    );
    const observer = await journey.tenant.observer();
    expect(await journey.synapse.joinedMembers(observer, matrixRoomId)).not.toContain(
      await journey.tenant.matrixUserId("cleo"),
    );
  });

  test("our sockets see who types on a plain Matrix client, until the message comes", async () => {
    const { room, matrixRoomId, plain, socket } = await openRoom("typing-in");
    await plain.type(matrixRoomId, true);
    await socket.waitFor("bob types", () => lists(socket, room).length === 1);
    await plain.send(matrixRoomId, "from bob's Matrix client");
    await socket.waitFor("the message came", () => socket.texts(room).includes("from bob's Matrix client"));
    await socket.waitFor("nobody types", () => lists(socket, room).length === 2);
    expect(lists(socket, room)).toEqual([["bob"], []]);
    await plain.type(matrixRoomId, false);
    await plain.type(matrixRoomId, true);
    await socket.waitFor("bob types again", () => lists(socket, room).length === 3);
    await plain.type(matrixRoomId, false);
    await socket.waitFor("bob stops", () => lists(socket, room).length === 4);
    expect(lists(socket, room).slice(2)).toEqual([["bob"], []]);
  });

  test("what a person reads here is that person's receipt on Matrix, and a receipt there is read here", async () => {
    const { room, matrixRoomId, ada, bob, cleo, plain, socket, adaOnMatrix } = await openRoom("receipts");
    const said = await cleo.say(room, "who has read this?", { waitS: 20 });
    await journey.tenant.settled(room);
    const number = said.number ?? 0;
    const events = await plain.read(matrixRoomId);
    const event = events.at(-1)?.event ?? "";
    expect(events.at(-1)?.body).toBe("who has read this?");

    expect(await ada.readUpTo(room, number)).toMatchObject({ number, unread: 0, firstUnread: null });
    await journey.waitFor(
      "ada's receipt is on Matrix",
      async () => (await plain.signs(matrixRoomId)).read[adaOnMatrix] === event,
    );

    expect(await bob.myRoom(room)).toMatchObject({ unread: 1 });
    const own = await journey.tenant.socket(bob);
    await plain.sendReceipt(matrixRoomId, event);
    await socket.waitFor("both receipts came", () => receipts(socket, room).length === 2);
    expect(receipts(socket, room)).toEqual([
      ["ada", number],
      ["bob", number],
    ]);
    await own.waitFor("bob's devices know", () =>
      own.received.some(({ data }) => data.type === "unread" && data.room === room && data.unread === 0),
    );
    expect(await bob.myRoom(room)).toMatchObject({ unread: 0 });
    const { body } = await cleo.call("GET", `/v1/rooms/group/receipts/receipts`);
    expect(body).toMatchObject({ items: ["ada", "bob", "cleo"].map((user) => ({ user: { user }, number })) });
  });

  test("a person whom the tenant does not know is shown by name, and without a Matrix id", async () => {
    const { tenant, synapse } = journey;
    const { room, matrixRoomId, socket } = await openRoom("typing-unknown");
    await tenant.server.changeRoom(room, { visibility: "public" });
    await tenant.settled(room);
    const { matrixUserId, accessToken } = await synapse.registerUnknownUser(`typist-${reads}`, "Mallory M.");
    journey.remember(accessToken);
    const path = `/rooms/${encodeURIComponent(matrixRoomId)}/invite`;
    expect((await synapse.as(await tenant.observer(), "POST", path, { user_id: matrixUserId })).status).toBe(
      200,
    );
    const client = await NioClient.open({
      ...{ homeserverUrl: synapse.url, matrixUserId, deviceId: "PLAIN", accessToken },
    });
    await client.join(matrixRoomId);
    await client.type(matrixRoomId, true);
    await socket.waitFor("Mallory types", () => lists(socket, room).length === 1);
    expect(lists(socket, room)).toEqual([["Mallory M."]]);
    expect(JSON.stringify(socket.received)).not.toContain(matrixUserId);
  });
});
