import { isDeepStrictEqual } from "node:util";
import { expect, test } from "@jest/globals";
import { MARKER } from "../../workers/matrix/marker.ts";
import { useJourney, type MatrixLogin } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();

/** An account on the homeserver that the tenant does not know; by default the observer invites it to a room. */
async function inviteUnknownUser(
  room: string,
  displayName: string,
  by?: string,
): Promise<{ client: NioClient; login: MatrixLogin }> {
  const { tenant, synapse } = journey;
  const { matrixUserId, accessToken } = await synapse.registerUnknownUser("outsider", displayName);
  journey.remember(accessToken);
  const [inviter, matrixRoomId] = [by ?? (await tenant.observer()), await tenant.matrixRoomId(room)];
  const invited = await synapse.as(inviter, "POST", `/rooms/${encodeURIComponent(matrixRoomId)}/invite`, {
    user_id: matrixUserId,
  });
  expect(invited.status).toBe(200);
  const login = { homeserverUrl: synapse.url, matrixUserId, deviceId: "PLAIN", accessToken };
  const client = await NioClient.open(login);
  await client.join(matrixRoomId);
  return { client, login };
}

test("a plain Matrix client reads our messages under the right names, and our sockets receive its messages", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  const room = "group:matrix";
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  await ada.say(room, "from ada's browser", { waitS: 20 });
  await bob.say(room, "from bob's browser", { waitS: 20 });
  await tenant.settled(room);
  const socket = await tenant.socket(bob);
  const matrixRoomId = await tenant.matrixRoomId(room);

  const login = await tenant.matrixLogin("ada");
  const plain = await NioClient.open(login);
  const written = ["from ada's Matrix client", "and again: ☕"];
  for (const text of written) await plain.send(matrixRoomId, text);

  await socket.waitFor("both messages are received", () => socket.texts(room).length >= 2);
  expect(socket.texts(room)).toEqual(written);
  for (const { data } of socket.in(room))
    expect(data).toMatchObject({ sender: { user: "ada", displayName: "ada" }, clientId: null });
  expect((await plain.read(matrixRoomId)).map(({ sender, body }) => ({ sender, body }))).toEqual([
    { sender: await tenant.matrixUserId("ada"), body: "from ada's browser" },
    { sender: await tenant.matrixUserId("bob"), body: "from bob's browser" },
    ...written.map((body) => ({ sender: login.matrixUserId, body })),
  ]);
  expect((await bob.read(room)).items.map(({ text, status }) => [text, status])).toEqual(
    ["from ada's browser", "from bob's browser", ...written].map((text) => [text, "sent"]),
  );
  expect(await bob.myRoom(room)).toMatchObject({ unread: 2 });
});

test("a plain Matrix client reads what we write once and in our order while people write faster than the homeserver takes", async () => {
  const { tenant } = journey;
  const people = await tenant.people("ada", "bob", "cleo");
  const room = "group:rush";
  await tenant.server.putRoom(room, { members: people.map(({ user }) => ({ user })) });
  for (const person of people) await person.say(room, `${person.user} is here`, { waitS: 20 });
  const matrixRoomId = await tenant.matrixRoomId(room);
  const plain = await NioClient.open(await tenant.matrixLogin("ada"));
  const readMarked = async () => (await plain.read(matrixRoomId)).map(({ body }) => body);
  const inOurOrder = async () => (await people[0].readAll(room)).map(({ text }) => text);

  const behind = [];
  for (let second = 0; second < 3; second++) {
    const posts = Array.from({ length: 20 }, (_, index) =>
      people.map((person) => person.say(room, `${person.user} ${second} ${index}`)),
    );
    await Promise.all(posts.flat());
    const [there, ours] = [await readMarked(), await inOurOrder()];
    expect(there).toEqual(ours.slice(0, there.length));
    behind.push(ours.length - there.length);
  }
  expect(Math.max(...behind)).toBeGreaterThan(0);
  await tenant.settled(room);
  const ours = await inOurOrder();
  expect(ours).toHaveLength(183);
  expect(await readMarked()).toEqual(ours);
}, 90_000);

test("a message of an unknown Matrix user arrives with the display name and without a Matrix id", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  const room = "group:unknown-users";
  await tenant.server.putRoom(room, { visibility: "public", members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);
  const { client, login } = await inviteUnknownUser(room, "Mallory M.");

  await client.send(await tenant.matrixRoomId(room), "hello from outside");

  await socket.waitFor("the message is received", () => socket.texts(room).length > 0);
  const [received] = socket.in(room);
  expect(received?.data).toMatchObject({
    type: "message.created",
    text: "hello from outside",
    sender: { user: null, displayName: "Mallory M.", avatar: null },
  });
  expect(JSON.stringify(socket.received)).not.toContain(login.matrixUserId);
  expect(JSON.stringify((await ada.read(room)).items)).not.toContain("outsider");
});

/** A room with a moderator who has an account on Matrix. */
async function moderatedRoom(room: string, visibility: "private" | "public") {
  const { tenant, synapse } = journey;
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom(room, { visibility, members: [{ user: "ada", role: "moderator" }] });
  await ada.say(room, "hello", { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const moderator = await tenant.matrixUserId("ada");
  const present = async () => {
    const path = `/rooms/${encodeURIComponent(matrixRoomId)}/members?not_membership=leave`;
    const { body } = await synapse.as(observer, "GET", path);
    return (body["chunk"] as { state_key: string }[]).map(({ state_key }) => state_key);
  };
  const invite = (matrixUserId: string) =>
    synapse.as(moderator, "POST", `/rooms/${encodeURIComponent(matrixRoomId)}/invite`, {
      user_id: matrixUserId,
    });
  return { ada, observer, matrixRoomId, moderator, present, invite };
}

const countRemoved = () => journey.tier("workers").metric('omc_drift_repaired_total{what="members"}');

test("a user whom a moderator invites to a private room on Matrix is removed, whether the user has joined yet or not", async () => {
  const { tenant, synapse } = journey;
  const room = "group:closed";
  const { ada, observer, moderator, present, invite } = await moderatedRoom(room, "private");
  const invited = await synapse.registerUnknownUser("outsider", "Waits");
  expect((await invite(invited.matrixUserId)).status).toBe(200);
  await journey.waitFor(
    "the invitation is withdrawn",
    async () => !(await present()).includes(invited.matrixUserId),
  );
  const { login } = await inviteUnknownUser(room, "Came", moderator).catch(() => ({ login: null }));
  await journey.waitFor("only the members are there", async () => (await present()).length === 2);
  expect((await present()).toSorted()).toEqual([observer, moderator].toSorted());
  expect(await countRemoved()).toBeGreaterThan(0);
  // None of our members is removed with them, and the timeline has no entry about it.
  await ada.say(room, "alone again", { waitS: 20 });
  expect(JSON.stringify(await ada.read(room))).not.toContain(login?.matrixUserId ?? "outsider");
  await tenant.settled(room);
  expect(await journey.admin(["room", "diagnose", "acme", room])).toEqual({ room, differences: [] });
}, 60_000);

test("unknown users whom a moderator invites to a public room stay until it is private; the tenant's own users do not", async () => {
  const { tenant } = journey;
  const room = "group:open";
  const { ada, observer, matrixRoomId, moderator, present, invite } = await moderatedRoom(room, "public");
  await tenant.people("bob");
  const bob = await tenant.matrixUserId("bob");
  await journey.waitFor("bob has an account", async () => (await invite(bob)).status === 200);
  const { client, login } = await inviteUnknownUser(room, "Guest of honour", moderator);
  const plain = await journey.synapse.as(bob, "POST", `/rooms/${encodeURIComponent(matrixRoomId)}/join`, {});
  expect(plain.status).toBe(200);
  await journey.waitFor("bob is out", async () => !(await present()).includes(bob));
  const socket = await tenant.socket(ada);
  await client.send(matrixRoomId, "thank you");
  await socket.waitFor("the guest's message is received", () => socket.texts(room).includes("thank you"));
  expect((await present()).toSorted()).toEqual([observer, moderator, login.matrixUserId].toSorted());
  await tenant.settled(room);
  expect(await journey.admin(["room", "diagnose", "acme", room])).toEqual({ room, differences: [] });

  await tenant.server.putRoom(room, { visibility: "private", members: [] });
  await journey.waitFor("the guest is out", async () => (await present()).length === 2);
}, 60_000);

test("a Matrix user cannot forge another user's message by copying its id field", async () => {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  const room = "group:forgery";
  await tenant.server.putRoom(room, { visibility: "public", members: [{ user: "ada" }, { user: "bob" }] });
  const matrixRoomId = await tenant.matrixRoomId(room);
  const socket = await tenant.socket(bob);
  const { client } = await inviteUnknownUser(room, "Mallory");
  const forge = (marker: unknown, body: string) =>
    client.sendContent(matrixRoomId, { msgtype: "m.text", body, [MARKER]: marker });

  // Before the real message is sent, its id is known from the publication.
  await journey.tier("workers").stop();
  const message = await ada.say(room, "the real words");
  await forge(message.id, "forged words");
  await socket.waitFor("the forgery is received", () => socket.texts(room).includes("forged words"));
  expect((await ada.read(room)).items[0]).toMatchObject({ id: message.id, status: "queued" });
  await journey.tier("workers").start();
  await tenant.settled(room);
  // After it, and with ids of no message.
  await forge(message.id, "forged again");
  await forge("not an id", "marked with nonsense");
  await forge({ id: message.id }, "marked with an object");
  await socket.waitFor("all messages are received", () => socket.texts(room).length >= 5);

  const received = socket.in(room).flatMap(({ data }) => (data.type === "message.created" ? [data] : []));
  expect(received.map(({ text, sender }) => [text, sender.user])).toEqual([
    ["the real words", "ada"],
    ["forged words", null],
    ["forged again", null],
    ["marked with nonsense", null],
    ["marked with an object", null],
  ]);
  expect(received.filter(({ id }) => id === message.id).map(({ text }) => text)).toEqual(["the real words"]);
}, 90_000);

test("a copy of an own message from a Matrix client is not delivered twice", async () => {
  const { tenant, synapse } = journey;
  const [ada] = await tenant.people("ada");
  const room = "group:copies";
  await tenant.server.putRoom(room, { members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);
  const message = await ada.say(room, "said once", { waitS: 20 });
  await socket.waitFor("the message is received", () => socket.texts(room).includes("said once"));
  await tenant.settled(room);
  const matrixRoomId = await tenant.matrixRoomId(room);
  const plain = await NioClient.open(await tenant.matrixLogin("ada"));

  await plain.sendContent(matrixRoomId, { msgtype: "m.text", body: "said once", [MARKER]: message.id });
  await plain.send(matrixRoomId, "something else");

  await socket.waitFor("the message after it is received", () =>
    socket.texts(room).includes("something else"),
  );
  expect(socket.texts(room)).toEqual(["said once", "something else"]);
  const observer = await tenant.observer();
  await journey.waitFor("the copy is redacted on Matrix", async () => {
    const texts = await synapse.texts(observer, matrixRoomId);
    return texts.filter(({ body }) => body === "said once").length === 1;
  });
});

test("an avatar or power level that is changed on Matrix is restored", async () => {
  const { tenant, synapse } = journey;
  const [ada] = await tenant.people("ada");
  const room = "group:changed";
  await tenant.server.putRoom(room, { name: "Ours", members: [{ user: "ada", role: "owner" }] });
  await ada.say(room, "hello", { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const right = await synapse.state(observer, matrixRoomId, "m.room.power_levels");
  const socket = await tenant.socket(ada);

  const plain = await NioClient.open(await tenant.matrixLogin("ada"));
  // Only web addresses are shown here.
  await plain.putState(matrixRoomId, "m.room.avatar", { url: "mxc://example.org/theirs" });
  await journey.waitFor("the avatar is restored", async () => {
    const state = await synapse.state(observer, matrixRoomId, "m.room.avatar");
    const avatars = await countEvents(matrixRoomId, "m.room.avatar");
    return avatars === 2 && state?.["url"] === undefined;
  });
  // Only the observer may change power levels; the homeserver's operator can act as the observer.
  const { status } = await synapse.as(
    observer,
    "PUT",
    `/rooms/${encodeURIComponent(matrixRoomId)}/state/m.room.power_levels/`,
    {
      ...right,
      kick: 0,
    },
  );
  expect(status).toBe(200);
  await tenant.server.putMember(room, "ada", "admin");
  await tenant.settled(room);

  const levels = await synapse.state(observer, matrixRoomId, "m.room.power_levels");
  expect(levels).toEqual({ ...right, users: { [await tenant.matrixUserId("ada")]: 75 } });
  expect(socket.in(room).map(({ data }) => data.type)).toEqual(["member.changed"]);
  expect((await tenant.server.room(room)).name).toBe("Ours");
});

test("a state event that a moderator redacts is put back as it was", async () => {
  const { tenant, synapse } = journey;
  const [ada] = await tenant.people("ada");
  const room = "group:redacted";
  const avatar = "https://example.org/chess.png";
  const members = [{ user: "ada", role: "moderator" }] as const;
  await tenant.server.putRoom(room, { name: "Ours", topic: "Chess", avatar, members: [...members] });
  await ada.say(room, "hello", { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const types = ["name", "topic", "avatar", "power_levels"].concat([
    "join_rules",
    "history_visibility",
    "guest_access",
    "canonical_alias",
  ]);
  const read = () =>
    Promise.all(types.map((type) => synapse.state(observer, matrixRoomId, `m.room.${type}`)));
  const before = await read();
  expect(before).not.toContain(null);

  const adaId = await tenant.matrixUserId("ada");
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}`;
  for (const type of types) {
    const { body } = await synapse.as(observer, "GET", `${path}/state/m.room.${type}/?format=event`);
    const redaction = `${path}/redact/${String(body["event_id"])}/redact-${type}`;
    expect(await synapse.as(adaId, "PUT", redaction, {})).toMatchObject({ status: 200 });
  }
  // The topic of a new room has a second form, which we do not set.
  const [name, , ...rest] = before;
  await journey.waitFor("all of them are put back", async () => {
    const [nameNow, topicNow, ...restNow] = await read();
    return isDeepStrictEqual([nameNow, topicNow?.["topic"], ...restNow], [name, "Chess", ...rest]);
  });
  await tenant.settled(room);
  expect(await journey.admin(["room", "diagnose", "acme", room])).toEqual({ room, differences: [] });
});

async function countEvents(matrixRoomId: string, type: string): Promise<number> {
  const filter = encodeURIComponent(JSON.stringify({ types: [type] }));
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}/messages?dir=f&limit=100&filter=${filter}`;
  const { body } = await journey.synapse.as(await journey.tenant.observer(), "GET", path);
  return (body["chunk"] as unknown[]).length;
}

/** A room of the moderator ada with bob and cleo, all on Matrix. `act` changes a membership as an account. */
async function roomOfThree(room: string) {
  const { tenant, synapse } = journey;
  const people = await tenant.people("ada", "bob", "cleo");
  const [ada, bob, cleo] = people;
  await tenant.server.putRoom(room, {
    members: [{ user: "ada", role: "moderator" }, { user: "bob" }, { user: "cleo", role: "speaker" }],
  });
  for (const person of people) await person.say(room, `I am ${person.user}`, { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}`;
  const act = async (by: string, action: "ban" | "kick" | "unban", user: string) => {
    const actor = by === "observer" ? observer : await tenant.matrixUserId(by);
    const user_id = await tenant.matrixUserId(user);
    const { status, body } = await synapse.as(actor, "POST", `${path}/${action}`, { user_id });
    expect([status, body]).toEqual([200, {}]);
  };
  const membership = async (user: string) => {
    const key = await tenant.matrixUserId(user);
    const { body } = await synapse.as(observer, "GET", `${path}/state/m.room.member/${key}`);
    return body["membership"];
  };
  const removed = (user: string) =>
    journey.waitFor(`${user} is removed here`, async () => {
      return (await tenant.server.member(room, user)).status === "removed";
    });
  return { ada, bob, cleo, act, membership, removed };
}

async function differencesOf(room: string): Promise<unknown> {
  return ((await journey.admin(["room", "diagnose", "acme", room])) as { differences: unknown }).differences;
}

test("a ban or a kick by a moderator on Matrix removes the member here too; who is added again is not banned any more", async () => {
  const { tenant } = journey;
  const room = "group:bans";
  const { ada, bob, cleo, act, membership, removed } = await roomOfThree(room);
  const [socket, bobsSocket] = [await tenant.socket(ada), await tenant.socket(bob)];

  await act("ada", "ban", "bob");
  await act("ada", "kick", "cleo");
  await Promise.all([removed("bob"), removed("cleo")]);

  await socket.waitFor("both removals are received", () => socket.in(room).length === 2);
  const entries = socket.in(room).map(({ data }) => data);
  expect(entries).toHaveLength(2);
  for (const [user, role] of [
    ["bob", "member"],
    ["cleo", "speaker"],
  ] as const) {
    expect(entries).toContainEqual(
      expect.objectContaining({
        type: "member.left",
        user: expect.objectContaining({ user }),
        role,
        by: "ada",
      }),
    );
  }
  await bobsSocket.waitFor("bob's socket is out of the room", () => bobsSocket.left.includes(room));
  for (const person of [bob, cleo]) {
    const { status } = await person.call("POST", `/v1/rooms/group/bans/messages`, {
      body: { text: "hello?" },
    });
    expect(status).toBe(404);
  }
  await tenant.settled(room);
  expect([await membership("bob"), await membership("cleo")]).toEqual(["ban", "leave"]);
  expect(await differencesOf(room)).toEqual([]);

  await tenant.server.putMembers(room, [{ user: "bob" }, { user: "cleo", role: "speaker" }]);
  await journey.waitFor("bob is not banned any more", async () => (await membership("bob")) !== "ban");
  for (const person of [bob, cleo]) {
    expect(await person.say(room, "here again", { waitS: 20 })).toMatchObject({ status: "sent" });
  }
  await tenant.settled(room);
  expect(await tenant.server.member(room, "bob")).toMatchObject({ status: "ready" });
  expect(await differencesOf(room)).toEqual([]);
}, 60_000);

test("a ban by an account without a role that may ban is undone; a ban and a message that meet while no worker runs are settled in order", async () => {
  const { tenant } = journey;
  const room = "group:undone";
  const { bob, cleo, act, membership, removed } = await roomOfThree(room);
  // The first one makes the metric.
  const undone = () =>
    journey
      .tier("workers")
      .metric('omc_drift_repaired_total{what="bans"}')
      .catch(() => 0);
  const before = await undone();

  // As the observer: the homeserver's operator can act as every account.
  await act("observer", "ban", "cleo");
  await journey.waitFor("cleo's ban is undone", async () => (await membership("cleo")) !== "ban");
  await journey.waitFor("the ban is counted", async () => (await undone()) === before + 1);
  expect(await cleo.say(room, "still here", { waitS: 20 })).toMatchObject({ status: "sent" });
  // An unban by a moderator is no removal, though it looks like a kick.
  await act("observer", "ban", "cleo");
  await act("ada", "unban", "cleo").catch(() => undefined);
  await journey.waitFor("cleo's ban is over", async () => (await membership("cleo")) !== "ban");
  expect(await cleo.say(room, "and still", { waitS: 20 })).toMatchObject({ status: "sent" });
  await tenant.settled(room);
  expect(await tenant.server.member(room, "cleo")).toMatchObject({ status: "ready" });

  await journey.tier("workers").stop();
  const [ofBob, ofCleo] = [await bob.say(room, "from bob"), await cleo.say(room, "from cleo")];
  await act("ada", "ban", "bob");
  await act("observer", "ban", "cleo");
  for (const found of ["bob", "cleo"])
    expect(await differencesOf(room)).toContainEqual(
      expect.objectContaining({ what: "member is banned", wanted: "in", found }),
    );
  await journey.tier("workers").start();
  await removed("bob");
  await tenant.settled(room);

  const [row] = await journey.sql<{ bob: string; cleo: string }>(
    `select (select status || ' ' || error_code from messages where id = ?) as bob,
            (select status from messages where id = ?) as cleo`,
    [ofBob.id, ofCleo.id],
  );
  expect(row).toEqual({ bob: "dead sender_removed", cleo: "sent" });
  expect(await membership("bob")).toBe("ban");
  expect(await differencesOf(room)).toEqual([]);
}, 90_000);

test("no Matrix id, token or homeserver name is in a response, a frame or Redis", async () => {
  const { tenant, synapse } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  const room = "group:discreet";
  await tenant.server.putRoom(room, { members: [{ user: "ada" }, { user: "bob" }] });
  const socket = await tenant.socket(bob);
  await ada.say(room, "hello", { waitS: 20 });
  await socket.waitFor("the message is received", () => socket.texts(room).length > 0);

  const published = JSON.stringify([
    socket.received,
    socket.subscriptions,
    await bob.read(room),
    await bob.rooms(),
    await tenant.server.room(room),
    await tenant.server.member(room, "ada"),
  ]);

  const inRedis = await journey.readRedis();
  expect(inRedis).toContain("hello");

  for (const secret of [
    synapse.serverName,
    await tenant.matrixRoomId(room),
    await tenant.matrixUserId("ada"),
    await tenant.observer(),
  ]) {
    expect(published).not.toContain(secret);
    expect(inRedis).not.toContain(secret);
  }
});

test("a message of an unknown user with an unusual name arrives, and so do the messages after it", async () => {
  const { tenant } = journey;
  const [ada] = await tenant.people("ada");
  const room = "group:odd-names";
  await tenant.server.putRoom(room, { visibility: "public", members: [{ user: "ada" }] });
  const socket = await tenant.socket(ada);
  // 256 characters, which Synapse allows; a cut at 256 UTF-16 units goes through the middle of one.
  const { client } = await inviteUnknownUser(room, `a${"🙂".repeat(255)}`);

  await client.send(await tenant.matrixRoomId(room), "hello");
  await socket.waitFor("the message is received", () => socket.texts(room).length === 1);
  await ada.say(room, "hello yourself");

  await socket.waitFor("both messages are received", () => socket.texts(room).length >= 2);
  expect(socket.texts(room)).toEqual(["hello", "hello yourself"]);
  const [received] = socket.in(room);
  expect(received?.data).toMatchObject({
    sender: { user: null, displayName: expect.stringMatching(/^a🙂+/u) },
  });
});
