import { expect, test } from "@jest/globals";
import { aliasLocalpart } from "../support/alias.ts";
import { roomResource } from "../../shared/contract/resources.ts";
import { roomPath, type Answer } from "../support/journey/clients.ts";
import { required, useJourney } from "../support/journey/journey.ts";
import { parseWhole } from "../support/parse-whole.ts";

const journey = useJourney();

test("messages arrive in an event's room, a group's room and a direct room alike", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  const members = [{ user: "ada" }, { user: "bob" }];
  await tenant.server.putRoom("event:py-meetup", { members });
  await tenant.server.putRoom("group:chess", { members });
  await tenant.server.expect(roomResource, "PUT", "/v1/rooms/direct", { body: { users: ["bob", "ada"] } });
  const socket = await tenant.socket(bob);

  for (const room of ["event:py-meetup", "group:chess", "direct:ada~bob"]) {
    await ada.say(room, `hello ${room}`);
    await socket.waitFor(`the hello of ${room}`, () => socket.texts(room).includes(`hello ${room}`));
    expect((await bob.read(room)).items.map(({ text }) => text)).toEqual([`hello ${room}`]);
  }
});

test("a direct room that both users open is one room", async () => {
  const { tenant } = journey;
  await tenant.people("ada", "Zed");
  const open = (users: string[]) =>
    tenant.server.expect(roomResource, "PUT", "/v1/rooms/direct", { body: { users } });

  const rooms = [await open(["ada", "Zed"]), await open(["Zed", "ada"])];

  // Sorted by bytes: capitals come first.
  expect(rooms.map(({ room }) => room)).toEqual(["direct:Zed~ada", "direct:Zed~ada"]);
  expect(new Set(rooms.map(({ epoch }) => epoch)).size).toBe(1);
});

test("a hundred backends that create one room at the same time make one room on Matrix", async () => {
  const { tenant } = journey;
  const observer = await tenant.observer();
  await tenant.people("ada");
  await tenant.server.putRoom("group:before");
  await tenant.settled("group:before");
  const before = await journey.synapse.joinedRooms(observer);

  const body = { name: "Stampede", members: [{ user: "ada" }] };
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => tenant.server.call("PUT", roomPath("event:stampede"), { body })),
  );

  await expectOneRoom(answers, "event", "stampede", before);
});

test("a hundred people who open one direct room from both sides at the same time make one room on Matrix", async () => {
  const { tenant } = journey;
  const observer = await tenant.observer();
  await tenant.people("left", "right");
  const before = await journey.synapse.joinedRooms(observer);

  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) => {
      const users = index % 2 === 0 ? ["left", "right"] : ["right", "left"];
      return tenant.server.call("PUT", "/v1/rooms/direct", { body: { users } });
    }),
  );

  await expectOneRoom(answers, "direct", "left~right", before);
});

async function expectOneRoom(
  answers: readonly Answer[],
  kind: "event" | "direct",
  slug: string,
  before: string[],
) {
  const { tenant, synapse } = journey;
  expect(answers.filter(({ status }) => status >= 300)).toEqual([]);
  expect(new Set(answers.map(({ body }) => parseWhole(roomResource, body).epoch)).size).toBe(1);
  const matrixRoomId = await tenant.matrixRoomId(`${kind}:${slug}`);
  await tenant.settled(`${kind}:${slug}`);
  const after = await synapse.joinedRooms(await tenant.observer());
  expect(after.filter((id) => !before.includes(id))).toEqual([matrixRoomId]);
  const [row] = await journey.sql<{ id: string }>("select id from tenants where slug = ?", [tenant.slug]);
  const alias = aliasLocalpart({ tenantId: required(row).id, kind, slug, generation: 1 });
  expect(await synapse.resolve(`#${alias}:${synapse.serverName}`)).toBe(matrixRoomId);
}

test("a room's new name and topic reach Matrix and every connected member", async () => {
  const { tenant, synapse } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:renamed", { name: "Old", topic: "before", members: [{ user: "ada" }] });
  const matrixRoomId = await tenant.matrixRoomId("group:renamed");
  const socket = await tenant.socket(ada);

  await tenant.server.changeRoom("group:renamed", { name: "New", topic: null });

  await socket.waitFor("the change is received", () =>
    socket.in("group:renamed").some(({ data }) => data.type === "room.changed"),
  );
  const received = socket
    .in("group:renamed")
    .flatMap(({ data }) => (data.type === "room.changed" ? [data.changed] : []));
  expect(received).toEqual([{ name: "New", topic: null }]);
  await tenant.settled("group:renamed");
  const observer = await tenant.observer();
  expect(await synapse.state(observer, matrixRoomId, "m.room.name")).toEqual({ name: "New" });
  expect((await synapse.state(observer, matrixRoomId, "m.room.topic"))?.["topic"] ?? "").toBe("");
  expect(await tenant.server.room("group:renamed")).toMatchObject({
    name: "New",
    topic: null,
    status: "ready",
  });
  // Our own change comes back from Matrix and is not published again.
  await ada.say("group:renamed", "after", { waitS: 20 });
  await socket.waitFor("the message after it is received", () =>
    socket.texts("group:renamed").includes("after"),
  );
  expect(socket.in("group:renamed").map(({ data }) => data.type)).toEqual([
    "room.changed",
    "message.created",
  ]);
});

test("a deleted room is empty on Matrix, and no user can read, write or receive there", async () => {
  const { tenant, synapse } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom("event:over", { members: [{ user: "ada" }, { user: "bob" }] });
  await ada.say("event:over", "the last word", { waitS: 20 });
  const [adaId, matrixRoomId] = [await tenant.matrixUserId("ada"), await tenant.matrixRoomId("event:over")];
  expect(await synapse.joinedRooms(adaId)).toContain(matrixRoomId);
  const socket = await tenant.socket(bob);

  expect((await tenant.server.call("DELETE", roomPath("event:over"))).status).toBeLessThan(300);

  await socket.waitFor("it is unsubscribed", () => socket.left.includes("event:over"));
  for (const person of [ada, bob]) {
    expect((await person.call("GET", roomPath("event:over", "/messages"))).status).toBe(404);
    expect(
      (await person.call("POST", roomPath("event:over", "/messages"), { body: { text: "?" } })).status,
    ).toBe(404);
  }
  await journey.waitFor(
    "ada left on Matrix",
    async () => !(await synapse.joinedRooms(adaId)).includes(matrixRoomId),
  );
  await journey.waitFor(
    "the observer left",
    async () => !(await synapse.joinedRooms(await tenant.observer())).includes(matrixRoomId),
  );
});

test("a room that is made again under the address of a deleted one has nothing of the old one", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:again", { members: [{ user: "ada" }] });
  await ada.say("group:again", "of before", { waitS: 20 });
  const [epoch, oldMatrixRoom] = [
    (await ada.read("group:again")).epoch,
    await tenant.matrixRoomId("group:again"),
  ];

  await tenant.server.call("DELETE", roomPath("group:again"));
  await tenant.server.putRoom("group:again", { members: [{ user: "ada" }] });
  await ada.say("group:again", "of after");
  await tenant.settled("group:again");

  const page = await ada.read("group:again");
  expect(page.items.map(({ text }) => text)).toEqual(["of after"]);
  expect(page.epoch).not.toBe(epoch);
  expect(await tenant.matrixRoomId("group:again")).not.toBe(oldMatrixRoom);
});

test("a deleted user is disconnected, is refused everywhere and is no longer on Matrix", async () => {
  const { tenant, synapse } = journey;
  const [ada, eve] = await tenant.people("ada", "eve");
  await tenant.server.putRoom("group:deleted-users", { members: [{ user: "ada" }, { user: "eve" }] });
  await eve.say("group:deleted-users", "bye", { waitS: 20 });
  const [eveId, matrixRoomId] = [
    await tenant.matrixUserId("eve"),
    await tenant.matrixRoomId("group:deleted-users"),
  ];
  const [adas, eves] = [await tenant.socket(ada), await tenant.socket(eve)];

  expect((await tenant.server.call("DELETE", "/v1/users/eve")).status).toBeLessThan(300);

  await eves.waitFor("eve is disconnected", () => eves.closed.length > 0);
  expect(eves.closed).toEqual([3503]);
  await adas.waitFor("ada receives it", () =>
    adas.in("group:deleted-users").some(({ data }) => data.type === "member.left"),
  );
  expect((await eve.call("GET", roomPath("group:deleted-users", "/messages"))).status).toBe(404);
  expect(
    (await eve.call("POST", roomPath("group:deleted-users", "/messages"), { body: { text: "?" } })).status,
  ).toBe(404);
  const observer = await tenant.observer();
  await journey.waitFor(
    "eve left on Matrix",
    async () => !(await synapse.joinedMembers(observer, matrixRoomId)).includes(eveId),
  );
  await journey.waitFor(
    "the account has ended",
    async () => (await synapse.as(observer, "GET", `/profile/${encodeURIComponent(eveId)}`)).status === 404,
  );
});

test("a deleted user's token opens no connection", async () => {
  const { tenant } = journey;
  const [gone] = await tenant.people("gone");
  await tenant.server.call("DELETE", "/v1/users/gone");
  expect((await gone.call("GET", "/v1/me/rooms")).status).toBe(401);
});

test("a user who is created again after a deletion is another account on Matrix", async () => {
  const { tenant } = journey;
  const [first] = await tenant.people("phoenix");
  await tenant.server.putRoom("group:ashes", { members: [{ user: "phoenix" }] });
  await first.say("group:ashes", "before", { waitS: 20 });
  const firstId = await tenant.matrixUserId("phoenix");
  await tenant.server.call("DELETE", "/v1/users/phoenix");

  const second = await tenant.person("phoenix");
  expect((await second.call("GET", roomPath("group:ashes", "/messages"))).status).toBe(404);
  await tenant.server.putMember("group:ashes", "phoenix");
  await second.say("group:ashes", "after");
  await tenant.settled("group:ashes");

  expect(await tenant.matrixUserId("phoenix")).not.toBe(firstId);
  expect((await second.read("group:ashes")).items.map(({ text }) => text)).toEqual(["before", "after"]);
});

test("a direct room ends with one of its people on Matrix too, and the next user of the name gets another", async () => {
  const { tenant, synapse } = journey;
  const room = "direct:dana~dora";
  const [dana, dora] = await tenant.people("dana", "dora");
  await tenant.server.call("PUT", "/v1/rooms/direct", { body: { users: ["dana", "dora"] } });
  await dana.say(room, "private", { waitS: 20 });
  await dora.say(room, "too", { waitS: 20 });
  const [doraId, matrixRoomId] = [await tenant.matrixUserId("dora"), await tenant.matrixRoomId(room)];
  const socket = await tenant.socket(dora);

  await tenant.server.call("DELETE", "/v1/users/dana");

  await socket.waitFor("dora is unsubscribed", () => socket.left.includes(room));
  expect((await dora.call("GET", roomPath(room, "/messages"))).status).toBe(404);
  for (const account of [doraId, await tenant.observer()])
    await journey.waitFor(
      "it is empty on Matrix",
      async () => !(await synapse.joinedRooms(account)).includes(matrixRoomId),
    );
  const next = await tenant.person("dana");
  await tenant.server.call("PUT", "/v1/rooms/direct", { body: { users: ["dana", "dora"] } });
  await next.say(room, "hello");
  await tenant.settled(room);
  expect((await next.read(room)).items.map(({ text }) => text)).toEqual(["hello"]);
  expect(await tenant.matrixRoomId(room)).not.toBe(matrixRoomId);
  // The token of the former user, who was dana too.
  expect((await dana.call("GET", roomPath(room, "/messages"))).status).toBe(401);
});

test("two tenants with rooms and users of the same names are separate", async () => {
  const ours = journey.tenant;
  const theirs = await journey.createTenant("globex");
  const [ourAda] = await ours.people("ada");
  const [theirAda] = await theirs.people("ada");
  for (const tenant of [ours, theirs])
    await tenant.server.putRoom("group:twin", { members: [{ user: "ada" }] });
  const [ourSocket, theirSocket] = [await ours.socket(ourAda), await theirs.socket(theirAda)];

  await ourAda.say("group:twin", "ours", { waitS: 20 });
  await theirAda.say("group:twin", "theirs", { waitS: 20 });

  await ourSocket.waitFor("ours", () => ourSocket.texts("group:twin").includes("ours"));
  await theirSocket.waitFor("theirs", () => theirSocket.texts("group:twin").includes("theirs"));
  expect(ourSocket.texts("group:twin")).toEqual(["ours"]);
  expect(theirSocket.texts("group:twin")).toEqual(["theirs"]);
  expect((await ourAda.read("group:twin")).items.map(({ text }) => text)).toEqual(["ours"]);
  const [ourRoom, theirRoom] = [
    await ours.matrixRoomId("group:twin"),
    await theirs.matrixRoomId("group:twin"),
  ];
  expect(ourRoom).not.toBe(theirRoom);
  const { synapse } = journey;
  expect(await synapse.joinedMembers(await ours.observer(), ourRoom)).not.toContain(
    await theirs.matrixUserId("ada"),
  );
  expect(await synapse.joinedRooms(await theirs.observer())).not.toContain(ourRoom);
});

test("a room that a tenant's second observer reads works like a room of the first", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  const members = [{ user: "ada" }, { user: "bob" }];
  await tenant.server.putRoom("group:of-the-first", { members });
  await journey.addObserver(tenant.slug);
  await tenant.server.putRoom("group:of-the-second", { members });
  const socket = await tenant.socket(bob);

  for (const room of ["group:of-the-first", "group:of-the-second"]) {
    await ada.say(room, `hello ${room}`, { waitS: 20 });
    await socket.waitFor("the message is received", () => socket.texts(room).length === 1);
  }

  const creators = await journey.sql<{ observer_id: string }>(
    "select distinct observer_id from rooms where slug in ('of-the-first', 'of-the-second')",
  );
  expect(creators).toHaveLength(2);
});
