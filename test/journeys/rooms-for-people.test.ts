import { expect, test } from "@jest/globals";
import { z } from "zod";
import { roomResource } from "../../shared/contract/resources.ts";
import { roomPath, type Person, type Socket } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();

const presence = z.strictObject({ online: z.int(), users: z.array(z.string()).optional() });

/** The lists of who is present that a socket received. */
function presentIn(socket: Socket, room: string): string[][] {
  return socket
    .in(room, { numbered: false })
    .flatMap(({ data }) => (data.type === "presence" ? [data.users ?? []] : []));
}

const openDirect = (person: Person, user: string) =>
  person.expect(roomResource, "PUT", "/v1/rooms/direct", { body: { user }, headers: { prefer: "wait=20" } });

/** ada uses our API, bob a plain Matrix client; both have written in their direct room, which ada opened. */
async function openPair(one: string, other: string) {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people(one, other);
  const { room } = await openDirect(ada, other);
  await ada.say(room, "hello from ada", { waitS: 20 });
  await bob.say(room, "hello from bob", { waitS: 20 });
  await tenant.settled(room);
  const matrixRoomId = await tenant.matrixRoomId(room);
  const plain = await NioClient.open(await tenant.matrixLogin(other));
  return { room, matrixRoomId, ada, bob, plain, bobOnMatrix: await tenant.matrixUserId(other) };
}

test("a person sees who is present in a room, on the socket and by a call, and nobody else does", async () => {
  const { tenant } = journey;
  const [pia, quin, outsider] = await tenant.people("pia", "quin", "outsider");
  const room = "group:present";
  await tenant.server.putRoom(room, { members: [{ user: "pia" }, { user: "quin" }] });
  const [socket] = [await tenant.socket(pia), await tenant.socket(pia)];
  const other = await tenant.socket(quin);
  await socket.waitFor("both are present", () => presentIn(socket, room).at(-1)?.length === 2);
  expect(presentIn(socket, room).at(-1)).toEqual(["pia", "quin"]);
  const read = () => pia.expect(presence, "GET", roomPath(room, "/presence"));
  expect(await read()).toEqual({ online: 2, users: ["pia", "quin"] });
  other.end();
  await socket.waitFor("quin is gone", () => presentIn(socket, room).at(-1)?.length === 1);
  expect(await read()).toEqual({ online: 1, users: ["pia"] });
  expect((await outsider.call("GET", roomPath(room, "/presence"))).status).toBe(404);
});

test("a direct room that a person opens is one room on Matrix, where who has left is joined again with the next message", async () => {
  const { tenant, synapse } = journey;
  const { room, matrixRoomId, ada, bob, plain, bobOnMatrix } = await openPair("di-ada", "di-bob");
  expect((await openDirect(bob, "di-ada")).room).toBe(room);
  await plain.leave(matrixRoomId);
  const observer = await tenant.observer();
  const isJoined = async () => (await synapse.joinedMembers(observer, matrixRoomId)).includes(bobOnMatrix);
  await journey.waitFor("bob has left on Matrix", async () => !(await isJoined()));
  expect((await bob.read(room)).items).toHaveLength(2);
  await bob.say(room, "I am still here", { waitS: 20 });
  expect(await isJoined()).toBe(true);
  const texts = (await ada.read(room)).items.map(({ text }) => text);
  expect(texts).toContain("I am still here");
  expect((await synapse.texts(observer, matrixRoomId)).map(({ body }) => body)).toContain("I am still here");
});

test("a block shuts the direct room on Matrix too, and opens it again when it ends", async () => {
  const { tenant, synapse } = journey;
  const { room, matrixRoomId, ada, bob, plain } = await openPair("bl-ada", "bl-bob");
  const observer = await tenant.observer();
  const levels = async () => synapse.state(observer, matrixRoomId, "m.room.power_levels");
  const before = await ada.say(room, "accepted before the block");
  expect((await ada.call("PUT", "/v1/me/blocks/bl-bob")).status).toBe(200);
  expect((await bob.call("POST", roomPath(room, "/messages"), { body: { text: "no" } })).status).toBe(403);
  expect((await ada.call("POST", roomPath(room, "/messages"), { body: { text: "no" } })).status).toBe(403);
  await journey.waitFor("Matrix has the block", async () => (await levels())?.["events_default"] === 50);
  await expect(plain.send(matrixRoomId, "no, on Matrix")).rejects.toThrow(/forbidden|permission/i);
  await tenant.settled(room);
  const { items } = await bob.read(room);
  expect(items.find(({ id }) => id === before.id)?.status).toBe("sent");
  expect((await bob.call("PUT", "/v1/rooms/direct", { body: { user: "bl-ada" } })).status).toBe(403);

  expect((await ada.call("DELETE", "/v1/me/blocks/bl-bob")).status).toBe(204);
  await journey.waitFor("Matrix has it open again", async () => (await levels())?.["events_default"] === 0);
  await plain.send(matrixRoomId, "at last, from Matrix");
  await journey.waitFor("it came", async () =>
    (await ada.read(room)).items.some(({ text }) => text === "at last, from Matrix"),
  );
  await bob.say(room, "at last, from here", { waitS: 20 });
});

test("a renamed room goes on as the same room on Matrix, and sockets and plain clients follow it", async () => {
  const { tenant, synapse } = journey;
  const [ada, bob] = await tenant.people("re-ada", "re-bob");
  const [former, present] = ["event:before", "event:after"];
  await tenant.server.putRoom(former, { members: [{ user: "re-ada" }, { user: "re-bob" }] });
  await ada.say(former, "one", { waitS: 20 });
  await bob.say(former, "two", { waitS: 20 });
  await tenant.settled(former);
  const matrixRoomId = await tenant.matrixRoomId(former);
  const observer = await tenant.observer();
  const aliasOf = async () =>
    (await synapse.state(observer, matrixRoomId, "m.room.canonical_alias"))?.["alias"];
  const alias = await aliasOf();
  const socket = await tenant.socket(ada);
  const plain = await NioClient.open(await tenant.matrixLogin("re-bob"));
  await bob.call("PUT", roomPath(former, "/read"), { body: { number: 1 } });

  await tenant.server.expect(roomResource, "PATCH", roomPath(former), {
    body: { slug: "after", name: "After" },
  });
  await socket.waitFor("it follows", () => socket.subscription(present) !== undefined);
  expect(socket.left).toEqual([former]);
  expect(socket.closed).toEqual([]);
  await plain.send(matrixRoomId, "three, from Matrix");
  await ada.say(present, "four", { waitS: 20 });
  await socket.waitFor("both came", () => socket.texts(present).length === 2);
  await tenant.settled(present);

  expect(await tenant.matrixRoomId(present)).toBe(matrixRoomId);
  expect(await aliasOf()).toBe(alias);
  expect(await synapse.resolve(String(alias))).toBe(matrixRoomId);
  expect(await synapse.state(observer, matrixRoomId, "m.room.name")).toEqual({ name: "After" });
  const history = await bob.readAll(present);
  expect(history.map(({ text }) => text)).toEqual(
    expect.arrayContaining(["one", "two", "three, from Matrix", "four"]),
  );
  // fetch follows the 308 by itself, with method and body.
  await bob.say(former, "five, to the former slug", { waitS: 20 });
  await socket.waitFor("it came", () => socket.texts(present).includes("five, to the former slug"));
  expect((await bob.myRoom(present))?.room).toBe(present);
  const joined = await synapse.joinedRooms(observer);
  expect(joined.filter((id) => id === matrixRoomId)).toHaveLength(1);
});
