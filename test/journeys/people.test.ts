import { expect, test } from "@jest/globals";
import { z } from "zod";
import { useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();

async function openRoom(room: string, ...people: string[]) {
  const { tenant } = journey;
  const persons = await tenant.people(...people);
  await tenant.server.putRoom(room, { members: people.map((user) => ({ user })) });
  for (const person of persons) await person.say(room, `hello from ${person.user}`, { waitS: 20 });
  await tenant.settled(room);
  return persons;
}

test("a new name reaches every device once for each shared room, Matrix once, and what was written before", async () => {
  const { tenant, synapse } = journey;
  const rooms = ["group:names-1", "group:names-2", "group:names-3"];
  for (const room of rooms) await openRoom(room, "nora", "carl");
  const [carl] = await tenant.people("carl");
  const socket = await tenant.socket(carl);
  const changes = () =>
    rooms.map((room) =>
      socket.in(room).flatMap(({ data }) => (data.type === "member.changed" ? [data.user.displayName] : [])),
    );
  const nora = await tenant.matrixUserId("nora");
  const sentBefore = await memberEvents(rooms[0] ?? "", nora);
  // An import changes her several times within a second.
  const schema = z.looseObject({ user: z.literal("nora") });
  for (const displayName of ["N.", "Nora A.", "Nora B."])
    await tenant.server.expect(schema, "PUT", "/v1/users/nora", { body: { displayName } });
  await socket.waitFor("every room has it", () => changes().every((names) => names.length > 0));
  expect(changes()).toEqual([["Nora B."], ["Nora B."], ["Nora B."]]);
  await journey.waitFor("Matrix has the name", async () => {
    const { body } = await synapse.as(nora, "GET", `/profile/${encodeURIComponent(nora)}/displayname`);
    return body["displayname"] === "Nora B.";
  });
  const renamed = (await memberEvents(rooms[0] ?? "", nora)).length - sentBefore.length;
  expect(renamed).toBeGreaterThanOrEqual(1);
  expect(renamed).toBeLessThanOrEqual(3);
  const { items } = await carl.read(rooms[0] ?? "");
  expect(items.find(({ sender }) => sender.user === "nora")?.sender.displayName).toBe("Nora B.");
}, 60_000);

/** Membership events of an account in a room's history on Matrix. */
async function memberEvents(room: string, matrixUserId: string): Promise<unknown[]> {
  const [observer, matrixRoomId] = [await journey.tenant.observer(), await journey.tenant.matrixRoomId(room)];
  const filter = encodeURIComponent(JSON.stringify({ types: ["m.room.member"] }));
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}/messages?dir=b&limit=100&filter=${filter}`;
  const { body } = await journey.synapse.as(observer, "GET", path);
  return (body["chunk"] as { state_key: string }[]).filter(({ state_key: key }) => key === matrixUserId);
}

const erasure = z.looseObject({
  state: z.enum(["running", "done"]),
  messages: z.int(),
  events: z.object({ count: z.int(), done: z.int() }),
});

test("what an erased person wrote is gone here and on Matrix, and everybody else's words stay", async () => {
  const { tenant } = journey;
  const room = "group:erased";
  const [eve, bob] = await openRoom(room, "eve", "bob");
  if (!eve || !bob) throw new Error("nobody is there");
  const written = Array.from({ length: 25 }, (_, index) => `a secret ${String(index)}`);
  for (const text of written) await eve.say(room, text);
  const matrixRoomId = await tenant.matrixRoomId(room);
  const onMatrix = await NioClient.open(await tenant.matrixLogin("eve"));
  await onMatrix.send(matrixRoomId, "a secret from Matrix");
  const socket = await tenant.socket(bob);
  await journey.waitFor("all of it is here", async () => (await bob.readAll(room)).length === 28);
  await tenant.settled(room);
  await onMatrix.close();
  const { epoch } = await bob.read(room);

  const deleted = await tenant.server.call("DELETE", "/v1/users/eve?erase=true");
  expect(deleted.status).toBe(202);
  await journey.waitFor(
    "the erasure is done",
    async () => (await tenant.server.expect(erasure, "GET", "/v1/users/eve/erasure")).state === "done",
    60_000,
  );
  expect(await tenant.server.expect(erasure, "GET", "/v1/users/eve/erasure")).toMatchObject({
    ...{ messages: 27, events: { count: 27, done: 27 } },
  });
  const items = await bob.readAll(room);
  expect(items.map(({ text }) => text).filter((text) => text !== "")).toEqual(["hello from bob"]);
  expect(items.filter(({ deletedAt }) => deletedAt !== null)).toHaveLength(27);
  const refs = new Set(items.filter(({ text }) => text === "").map(({ sender }) => sender.ref));
  expect(refs.size).toBe(1);
  expect(
    items.every(({ sender, text }) => text !== "" || (sender.user === null && sender.displayName === null)),
  ).toBe(true);
  await journey.waitFor("clients load the room again", async () => (await bob.read(room)).epoch !== epoch);
  const subscribed = () => socket.subscriptions.filter(({ channel }) => channel === room);
  await socket.waitFor("the socket begins again", () => subscribed().length > 1);
  expect(subscribed().at(-1)?.recovered).toBe(false);
  await journey.waitFor("no stream has it", async () => !(await journey.readRedis()).includes("a secret"));
  const plain = await NioClient.open(await tenant.matrixLogin("bob"));
  const events = (await plain.readAll(matrixRoomId)).filter(({ type }) => type === "m.room.message");
  expect(events.filter(({ pruned }) => !pruned).map(({ content }) => content["body"])).toEqual([
    "hello from bob",
  ]);
  expect(events.filter(({ pruned }) => pruned)).toHaveLength(27);
  const [counted] = await journey.sql<{ count: number }>(
    "select count(*) as count from timeline where content::text like '%a secret%'",
  );
  expect(counted?.count).toBe(0);
}, 120_000);

test("a locked person's sockets are closed for good, and the person's calls are refused until the lock ends", async () => {
  const { tenant } = journey;
  const [lou] = await openRoom("group:locked", "lou");
  if (!lou) throw new Error("nobody is there");
  const socket = await tenant.socket(lou);
  expect((await tenant.server.call("PUT", "/v1/users/lou/lock")).status).toBe(200);
  await socket.waitFor("it is closed", () => socket.closed.length > 0);
  expect(socket.closed).toEqual([3503]);
  expect((await lou.call("GET", "/v1/me/rooms")).status).toBe(403);
  expect((await tenant.server.call("DELETE", "/v1/users/lou/lock")).status).toBe(200);
  expect((await lou.call("GET", "/v1/me/rooms")).status).toBe(200);
  await tenant.socket(lou);
});
