import { expect, test } from "@jest/globals";
import { POWER_LEVEL } from "../../shared/contract/roles.ts";
import { buildPowerLevels } from "../../workers/matrix/power-levels.ts";
import { roomPath } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();
const ROLES = ["owner", "admin", "moderator", "speaker", "member"] as const;

test.each([
  { last: "in", isMember: true },
  { last: "out", isMember: false },
])(
  "a member who is added and removed fifty times and ends $last is $last, on Matrix too",
  async ({ last, isMember }) => {
    const { tenant, synapse } = journey;
    const room = `group:toggled-${last}`;
    const [ada, bob] = await tenant.people("ada", "bob");
    await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob", role: "moderator" }] });
    await bob.say(room, "I am here", { waitS: 20 });

    for (let round = 0; round < 50; round++) {
      await tenant.server.removeMember(room, "bob");
      await tenant.server.putMember(room, "bob", "moderator");
    }
    if (isMember) await bob.say(room, "still here", { waitS: 20 });
    else await tenant.server.removeMember(room, "bob");
    await tenant.settled(room);

    expect((await tenant.server.member(room, "bob")).status).toBe(isMember ? "ready" : "removed");
    expect((await bob.call("GET", roomPath(room, "/messages"))).status).toBe(isMember ? 200 : 404);
    const [observer, matrixRoomId, bobId] = [
      await tenant.observer(),
      await tenant.matrixRoomId(room),
      await tenant.matrixUserId("bob"),
    ];
    expect((await synapse.joinedMembers(observer, matrixRoomId)).includes(bobId)).toBe(isMember);
    const levels = await synapse.state(observer, matrixRoomId, "m.room.power_levels");
    expect((levels?.["users"] as Record<string, number>)[bobId]).toBe(isMember ? 50 : undefined);
    expect((await ada.read(room)).items.map(({ text }) => text)).toEqual(
      isMember ? ["I am here", "still here"] : ["I am here"],
    );
  },
);

test("a member who posts has the power level of the role on Matrix, and a new role changes it", async () => {
  const { tenant, synapse } = journey;
  const names = ROLES.map((role) => `the-${role}`);
  const people = await tenant.people(...names);
  await tenant.server.putRoom("group:ranks", {
    members: ROLES.map((role) => ({ user: `the-${role}`, role })),
  });
  for (const person of people) await person.say("group:ranks", `I am ${person.user}`, { waitS: 20 });
  await tenant.settled("group:ranks");
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId("group:ranks")];
  const ids = new Map(
    await Promise.all(names.map(async (name) => [name, await tenant.matrixUserId(name)] as const)),
  );
  const levelsOf = (roles: Record<string, (typeof ROLES)[number] | "guest">) =>
    buildPowerLevels(
      { observer, creators: [observer] },
      Object.entries(roles).map(([name, role]) => ({
        matrixUserId: ids.get(`the-${name}`) ?? "",
        level: POWER_LEVEL[role],
      })),
    );
  const first = {
    owner: "owner",
    admin: "admin",
    moderator: "moderator",
    speaker: "speaker",
    member: "member",
  } as const;
  expect(await synapse.state(observer, matrixRoomId, "m.room.power_levels")).toEqual(levelsOf(first));

  await tenant.server.putMembers("group:ranks", [
    { user: "the-member", role: "admin" },
    { user: "the-admin", role: "member" },
    { user: "the-moderator", role: "guest" },
  ]);
  await tenant.settled("group:ranks");

  const then = { ...first, member: "admin", admin: "member", moderator: "guest" } as const;
  expect(await synapse.state(observer, matrixRoomId, "m.room.power_levels")).toEqual(levelsOf(then));
});

test("a guest reads and receives messages, cannot post and is never on Matrix", async () => {
  const { tenant, synapse } = journey;
  const [ada, guest] = await tenant.people("ada", "visitor");
  await tenant.server.putRoom("event:open-day", {
    members: [{ user: "ada" }, { user: "visitor", role: "guest" }],
  });
  const socket = await tenant.socket(guest);

  await ada.say("event:open-day", "welcome", { waitS: 20 });

  await socket.waitFor("the guest receives it", () => socket.texts("event:open-day").includes("welcome"));
  expect((await guest.read("event:open-day")).items.map(({ text }) => text)).toEqual(["welcome"]);
  const refused = await guest.call("POST", roomPath("event:open-day", "/messages"), { body: { text: "hi" } });
  expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
  await tenant.settled("event:open-day");
  const members = await synapse.joinedMembers(
    await tenant.observer(),
    await tenant.matrixRoomId("event:open-day"),
  );
  expect(members.toSorted()).toEqual([await tenant.observer(), await tenant.matrixUserId("ada")].toSorted());
});

test("a removed member receives and reads nothing after the removal, and gets none of it when added again", async () => {
  const { tenant } = journey;
  const room = "group:exile";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const [adas, bobs] = [await tenant.socket(ada), await tenant.socket(bob)];
  await ada.say(room, "with bob");
  await bobs.waitFor("bob receives it", () => bobs.texts(room).includes("with bob"));

  await tenant.server.removeMember(room, "bob");
  for (const text of ["without bob 1", "without bob 2"]) await ada.say(room, text, { waitS: 20 });
  await adas.waitFor("ada receives it", () => adas.texts(room).includes("without bob 2"));
  await bobs.waitFor("bob is out", () => bobs.left.includes(room));
  expect((await bob.call("GET", roomPath(room, "/messages"))).status).toBe(404);
  expect((await bob.call("POST", roomPath(room, "/messages"), { body: { text: "?" } })).status).toBe(404);
  expect((await bob.rooms()).map((mine) => mine.room)).not.toContain(room);

  expect(JSON.stringify(bobs.received)).not.toContain("without bob");

  await tenant.server.putMember(room, "bob");
  await bobs.waitFor(
    "bob is in",
    () => bobs.subscriptions.filter(({ channel }) => channel === room).length === 2,
  );
  await ada.say(room, "with bob again");
  await bobs.waitFor("bob receives it again", () => bobs.texts(room).includes("with bob again"));

  expect(bobs.texts(room)).toEqual(["with bob", "with bob again"]);
  expect(JSON.stringify(bobs.in(room, { numbered: false }))).not.toContain("without bob");
  expect(bobs.subscription(room)?.recovered).toBe(false);
});

test("a removed member who was offline receives nothing after the removal when coming back", async () => {
  const { tenant } = journey;
  const room = "group:away-exile";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const bobs = await tenant.socket(bob);
  await ada.say(room, "before");
  await bobs.waitFor("bob receives it", () => bobs.texts(room).includes("before"));

  bobs.goAway();
  await tenant.server.removeMember(room, "bob");
  await ada.say(room, "after", { waitS: 20 });
  await bobs.comeBack();

  await bobs.waitFor("the room is gone", () => bobs.left.includes(room));
  expect(bobs.texts(room)).toEqual(["before"]);
  expect(JSON.stringify(bobs.received)).not.toContain("after");
});

test("a member receives the changes of members: who joins, who leaves and who gets another role", async () => {
  const { tenant } = journey;
  const room = "group:coming-and-going";
  const [ada] = await tenant.people("ada", "cleo");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);

  await tenant.server.putMember(room, "cleo");
  await tenant.server.putMember(room, "cleo", "speaker");
  await tenant.server.removeMember(room, "cleo");
  await socket.waitFor("three entries", () => socket.in(room).length >= 3);

  const received = socket
    .in(room)
    .map(({ data }) => ("role" in data && "user" in data ? [data.type, data.user.user, data.role] : data));
  expect(received).toEqual([
    ["member.joined", "cleo", "member"],
    ["member.changed", "cleo", "speaker"],
    ["member.left", "cleo", "speaker"],
  ]);
});

test("a user who opens a room is joined on Matrix in the background, before the first message", async () => {
  const { tenant, synapse } = journey;
  const room = "group:opened";
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  await ada.say(room, "hello", { waitS: 20 });
  await tenant.settled(room);

  await bob.read(room);

  const [observer, matrixRoomId, bobId] = [
    await tenant.observer(),
    await tenant.matrixRoomId(room),
    await tenant.matrixUserId("bob"),
  ];
  await journey.waitFor("bob is on Matrix", async () =>
    (await synapse.joinedMembers(observer, matrixRoomId)).includes(bobId),
  );
});

test("a tenant can have every member who may post on Matrix before a user opens the room", async () => {
  const { synapse } = journey;
  const tenant = await journey.createTenant("keen");
  const names = Array.from({ length: 23 }, (_, index) => `keen-${index}`);
  const putRoom = (room: string) =>
    tenant.server.putRoom(room, {
      members: [
        ...names.map((user) => ({ user })),
        { user: "the-owner", role: "owner" },
        { user: "visitor", role: "guest" },
      ],
    });
  const expectAllJoined = async (room: string) => {
    const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
    const wanted = await Promise.all([...names, "the-owner"].map((name) => tenant.matrixUserId(name)));
    await journey.waitFor(
      "all of them are on Matrix",
      async () => (await synapse.joinedMembers(observer, matrixRoomId)).length >= wanted.length + 1,
      60_000,
    );
    await tenant.settled(room);
    const joined = await synapse.joinedMembers(observer, matrixRoomId);
    expect(joined.toSorted()).toEqual([observer, ...wanted].toSorted());
    const levels = await synapse.state(observer, matrixRoomId, "m.room.power_levels");
    expect(levels?.["users"]).toEqual({ [await tenant.matrixUserId("the-owner")]: 90 });
  };
  await putRoom("group:older");
  await tenant.settled("group:older");
  const observer = await tenant.observer();
  const older = await tenant.matrixRoomId("group:older");
  expect(await synapse.joinedMembers(observer, older)).toEqual([observer]);

  await journey.admin(["tenant", "limits", "keen", "join=eager"]);
  await putRoom("group:newer");

  await expectAllJoined("group:newer");
  await expectAllJoined("group:older");
}, 120_000);

test("a new name is on Matrix and in later messages, and no member sees a second join", async () => {
  const { tenant, synapse } = journey;
  const room = "group:names";
  const [ada, dora] = await tenant.people("ada", "dora");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "dora" }] });
  await dora.say(room, "before");
  await tenant.settled(room);
  const socket = await tenant.socket(ada);

  await tenant.person("dora", "Dora the Explorer");
  const doraId = await tenant.matrixUserId("dora");
  await journey.waitFor("Matrix has the name", async () => {
    const { body } = await synapse.as(doraId, "GET", `/profile/${encodeURIComponent(doraId)}/displayname`);
    return body["displayname"] === "Dora the Explorer";
  });
  await dora.say(room, "after");

  await socket.waitFor("the message is received", () => socket.texts(room).includes("after"));
  expect(socket.in(room).map(({ data }) => data.type)).toEqual(["message.created"]);
  expect(socket.in(room)[0]?.data).toMatchObject({
    sender: { user: "dora", displayName: "Dora the Explorer" },
  });
});
