import { expect, test } from "@jest/globals";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();

async function openRoom(room: string) {
  const { tenant } = journey;
  const [ada, bob] = await tenant.people("ada", "bob");
  await tenant.server.putRoom(room, {
    name: "Ours",
    members: [
      { user: "ada", role: "owner" },
      { user: "bob", role: "member" },
    ],
  });
  await ada.say(room, "one", { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}`;
  return { ada, bob, observer, matrixRoomId, path, socket: await tenant.socket(bob) };
}

async function diagnose(room: string, ...options: string[]): Promise<Record<string, unknown>> {
  return (await journey.admin(["room", "diagnose", "acme", room, ...options])) as Record<string, unknown>;
}

/** Waits until Matrix has all messages of a room, and nothing differs there. */
async function followed(room: string, limitMs = 60_000): Promise<void> {
  const [ada] = await journey.tenant.people("ada");
  await journey.waitFor(
    "Matrix has the room",
    async () => {
      const { items, sentUpTo } = await ada.read(room);
      const isSent = items.every(({ status, number }) => status === "sent" && (number ?? 0) <= sentUpTo);
      return isSent && ((await diagnose(room))["differences"] as unknown[]).length === 0;
    },
    limitMs,
  );
}

/** The members' levels on Matrix. The observer is at 100, or created the room and stands in no map. */
async function expectConverged(
  room: string,
  observer: string,
  roles: Record<string, number>,
): Promise<string> {
  const matrixRoomId = await journey.tenant.matrixRoomId(room);
  const create = await journey.synapse.state(observer, matrixRoomId, "m.room.create");
  const levels = await journey.synapse.state(observer, matrixRoomId, "m.room.power_levels");
  const members = await Promise.all(
    Object.entries(roles).map(async ([user, level]) => [await journey.tenant.matrixUserId(user), level]),
  );
  const isCreator = create?.["room_version"] === "12";
  const own = isCreator ? {} : { [observer]: 100 };
  expect(levels?.["users"]).toEqual({ ...own, ...Object.fromEntries(members) });
  return String(create?.["room_version"]);
}

/** What the homeserver's operator does as one of its accounts. Returns the answer. */
async function act(matrixUserId: string, method: string, path: string, body: unknown) {
  const answer = await journey.synapse.as(matrixUserId, method, path, body);
  expect(answer).toMatchObject({ status: 200 });
  return answer.body;
}

/** Replaces a room's Matrix room by one of another version, as rooms are that were made earlier. The alias names it. */
async function replaceByVersion(
  slug: string,
  version: string,
  users: Record<string, number>,
): Promise<string> {
  const observer = await journey.tenant.observer();
  const former = await journey.tenant.matrixRoomId(`group:${slug}`);
  const alias = (await journey.synapse.state(observer, former, "m.room.canonical_alias"))?.[
    "alias"
  ] as string;
  const levels = await journey.synapse.state(observer, former, "m.room.power_levels");
  const body = await act(observer, "POST", "/createRoom", {
    room_version: version,
    preset: "private_chat",
    power_level_content_override: {
      ...levels,
      users,
      events: { ...(levels?.["events"] as object), "m.room.tombstone": 100 },
    },
  });
  const directory = `/directory/room/${encodeURIComponent(alias)}`;
  await act(observer, "DELETE", directory, {});
  await act(observer, "PUT", directory, { room_id: body["room_id"] });
  await journey.sql(
    `with forgotten as (update memberships set applied = 'out', applied_version = 0 where room_id = (select id from rooms where slug = ?))
     update rooms set matrix_room_id = null where slug = ?`,
    [slug, slug],
  );
  return body["room_id"] as string;
}

test("an observer that was removed from a room comes back, and the messages of the meantime arrive in order", async () => {
  const room = "group:removed";
  const { ada, observer, path, socket } = await openRoom(room);
  expect((await journey.synapse.as(observer, "POST", `${path}/leave`, {})).status).toBe(200);
  for (const text of ["two", "three"]) await ada.say(room, text);
  await journey.waitFor("all messages are received", () => socket.texts(room).length === 2);
  expect(socket.texts(room)).toEqual(["two", "three"]);
  await followed(room);
});

test("messages posted while the observer was out of the room arrive when it is back, though other rooms went on meanwhile", async () => {
  const [room, other] = ["group:removed-long", "group:goes-on"];
  const { observer, path, socket } = await openRoom(room);
  const elsewhere = await openRoom(other);
  const adaId = await journey.tenant.matrixUserId("ada");
  let sent = 0;
  const sayOnMatrix = async (to: string, body: string) => {
    const send = `${to}/send/m.room.message/removed-${++sent}`;
    const { status } = await journey.synapse.as(adaId, "PUT", send, { msgtype: "m.text", body });
    expect(status).toBe(200);
  };

  // More messages than one response of /sync holds, so that a returning observer does not get the whole room.
  for (let said = 0; said < 120; said += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, index) => sayOnMatrix(path, `before ${said + index}`)));
  }
  await socket.waitFor("all of them are received", () => socket.texts(room).length === 120);

  await journey.tier("workers").stop();
  expect((await journey.synapse.as(observer, "POST", `${path}/leave`, {})).status).toBe(200);
  for (const text of ["two", "three"]) {
    await sayOnMatrix(path, text);
    await sayOnMatrix(elsewhere.path, text);
    await elsewhere.socket.waitFor("the observer read on", () =>
      elsewhere.socket.texts(other).includes(text),
    );
  }
  await journey.tier("workers").start();

  await socket.waitFor("the last message is received", () => socket.texts(room).includes("three"));
  expect(socket.texts(room).slice(120)).toEqual(["two", "three"]);
  expect(await diagnose(room)).toEqual({ room, differences: [] });
});

test("a room that is upgraded on Matrix continues in its successor, with its members and roles", async () => {
  const room = "group:upgraded";
  const { ada, bob, observer, matrixRoomId, path, socket } = await openRoom(room);
  const { status, body } = await journey.synapse.as(observer, "POST", `${path}/upgrade`, {
    new_version: "12",
  });
  expect(status).toBe(200);
  await ada.say(room, "two", { waitS: 30 });
  await bob.say(room, "three", { waitS: 30 });
  await journey.waitFor("all messages are received", () => socket.texts(room).length === 2);
  expect(socket.texts(room)).toEqual(["two", "three"]);
  const successor = String(body["replacement_room"]);
  expect(successor).not.toBe(matrixRoomId);
  await journey.waitFor(
    "the room is replaced",
    async () => (await journey.tenant.matrixRoomId(room)) === successor,
  );
  await journey.waitFor(
    "nothing differs",
    async () => ((await diagnose(room))["differences"] as unknown[]).length === 0,
  );
  const levels = await journey.synapse.state(observer, successor, "m.room.power_levels");
  expect(levels?.["users"]).toEqual({ [await journey.tenant.matrixUserId("ada")]: 90 });
});

/** A room of a version is adopted, converges after changes on Matrix, and is upgraded to version 12. */
async function liveInVersion(version: string): Promise<void> {
  const slug = `version-${version}`;
  const room = `group:${slug}`;
  const { ada, bob, observer, socket } = await openRoom(room);
  const own = version === "12" ? {} : { [observer]: 100 };
  const adopted = await replaceByVersion(slug, version, own);
  await ada.say(room, "two", { waitS: 30 });
  await bob.say(room, "three", { waitS: 30 });
  await journey.tenant.server.putMember(room, "bob", "moderator");
  await journey.tenant.settled(room);
  expect(await expectConverged(room, observer, { ada: 90, bob: 50 })).toBe(version);
  expect(await journey.tenant.matrixRoomId(room)).toBe(adopted);
  expect(await journey.synapse.state(observer, adopted, "m.room.name")).toEqual({ name: "Ours" });

  const path = `/rooms/${encodeURIComponent(adopted)}`;
  const bobId = await journey.tenant.matrixUserId("bob");
  await act(observer, "POST", `${path}/kick`, { user_id: bobId });
  await bob.say(room, "four", { waitS: 30 });

  // In the versions before 11 a redaction names its target at the top level.
  const name = await act(observer, "GET", `${path}/state/m.room.name/?format=event`, undefined);
  await act(bobId, "PUT", `${path}/redact/${String(name["event_id"])}/redact-${version}`, {});
  await journey.waitFor("the redacted name is put back", async () => {
    const state = await journey.synapse.state(observer, adopted, "m.room.name");
    return state?.["name"] === "Ours";
  });

  const upgraded = await act(observer, "POST", `${path}/upgrade`, { new_version: "12" });
  await ada.say(room, "five", { waitS: 30 });
  await bob.say(room, "six", { waitS: 30 });
  await socket.waitFor("all messages are received", () => socket.texts(room).includes("six"));
  expect(socket.texts(room)).toEqual(["two", "three", "four", "five", "six"]);
  await journey.tenant.settled(room);
  expect(await expectConverged(room, observer, { ada: 90, bob: 50 })).toBe("12");
  expect(await journey.tenant.matrixRoomId(room)).toBe(upgraded["replacement_room"]);
}

test("rooms of every version from 6 to 12 are adopted, converge after changes on Matrix, and are upgraded", async () => {
  const versions = ["6", "7", "8", "9", "10", "11", "12"];
  const results = await Promise.allSettled(versions.map((version) => liveInVersion(version)));
  const failures = results.map((result) => (result.status === "rejected" ? String(result.reason) : null));
  expect(Object.fromEntries(versions.map((version, index) => [version, failures[index]]))).toEqual(
    Object.fromEntries(versions.map((version) => [version, null])),
  );
});

test.each([
  ["by a person, who is the new room's creator", "by-person", "12", "ada", {}],
  ["by a person to an earlier version", "by-person-11", "11", "ada", {}],
  ["with a person as its second creator", "shared", "12", "observer", { additional_creators: ["ada"] }],
  // The creator of a room of version 12 is named in no map, so it has no power in the copy.
  ["to a version in which the observer has no power", "weak", "6", "observer", {}],
] as const)(
  "a room that is upgraded %s goes on in a room of the observer's own",
  async (_, slug, version, by, more) => {
    const room = `group:${slug}`;
    const { ada, bob, observer, matrixRoomId, path, socket } = await openRoom(room);
    const adaId = await journey.tenant.matrixUserId("ada");
    const levels = await journey.synapse.state(observer, matrixRoomId, "m.room.power_levels");
    const events = { ...(levels?.["events"] as object), "m.room.tombstone": 90 };
    await act(observer, "PUT", `${path}/state/m.room.power_levels/`, { ...levels, events });
    const { replacement_room: theirs } = await act(
      by === "ada" ? adaId : observer,
      "POST",
      `${path}/upgrade`,
      {
        new_version: version,
        ...("additional_creators" in more ? { additional_creators: [adaId] } : {}),
      },
    );
    await ada.say(room, "two", { waitS: 30 });
    await bob.say(room, "three", { waitS: 30 });
    await socket.waitFor("all messages are received", () => socket.texts(room).includes("three"));
    const isReplaced = async () =>
      ![matrixRoomId, theirs].includes(await journey.tenant.matrixRoomId(room)) &&
      ((await diagnose(room))["differences"] as unknown[]).length === 0;
    await journey.waitFor("another room is in its place, and nothing differs", isReplaced);
    // The first two may have gone to the former room, before the observer read the tombstone: then nobody has joined the new one.
    await ada.say(room, "four", { waitS: 30 });
    await journey.tenant.settled(room);
    const ours = await journey.tenant.matrixRoomId(room);
    expect(await expectConverged(room, observer, { ada: 90 })).toBe("12");
    expect(await journey.synapse.state(observer, matrixRoomId, "m.room.tombstone")).toMatchObject({
      replacement_room: ours,
    });
    expect(await diagnose(room)).toEqual({ room, differences: [] });
  },
);

test("the repair of a room in which somebody has the observer's power puts another room in its place", async () => {
  const room = "group:equal";
  const { ada, observer, socket } = await openRoom(room);
  const adaId = await journey.tenant.matrixUserId("ada");
  const equal = await replaceByVersion("equal", "11", { [observer]: 100, [adaId]: 100 });
  await journey.sql("update rooms set matrix_room_id = ? where slug = 'equal'", [equal]);
  const found = (await diagnose(room))["differences"] as { what: string; found: unknown }[];
  expect(found).toContainEqual({ what: "power cannot be taken from", wanted: [], found: [adaId] });
  expect(await diagnose(room, "--repair")).toMatchObject({ room, differences: [] });
  await ada.say(room, "two", { waitS: 30 });
  await socket.waitFor("the message is received", () => socket.texts(room).includes("two"));
  await journey.tenant.settled(room);
  expect(await expectConverged(room, observer, { ada: 90 })).toBe("12");
  expect(await diagnose(room)).toEqual({ room, differences: [] });
});

test("an operator sees what differs on Matrix and repairs it", async () => {
  const room = "group:differs";
  const { observer, matrixRoomId, path } = await openRoom(room);
  const ada = await journey.tenant.matrixUserId("ada");
  // As the observer itself: no event reports such a change, so only a comparison finds it.
  const put = (type: string, content: unknown) =>
    journey.synapse.as(observer, "PUT", `${path}/state/${type}/`, content);
  await put("m.room.name", { name: "Theirs" });
  const levels = await journey.synapse.state(observer, matrixRoomId, "m.room.power_levels");
  await put("m.room.power_levels", { ...levels, users: {} });

  const diagnosis = await journey.adminWithCode(["room", "diagnose", "acme", room]);
  expect(diagnosis.exitCode).toBe(1);
  const { differences: found } = diagnosis.printed as {
    differences: { what: string; wanted: unknown; found: unknown }[];
  };
  expect(found.map(({ what }) => what)).toEqual(["name", "power levels"]);
  expect(found[0]).toEqual({ what: "name", wanted: "Ours", found: "Theirs" });

  const repaired = await diagnose(room, "--repair");
  expect(repaired).toMatchObject({
    room,
    differences: [],
    repaired: [{ what: "name" }, { what: "power levels" }],
  });
  expect(await journey.synapse.state(observer, matrixRoomId, "m.room.name")).toEqual({ name: "Ours" });
  const right = await journey.synapse.state(observer, matrixRoomId, "m.room.power_levels");
  expect(right?.["users"]).toEqual({ [ada]: 90 });
  // Matrix has all of its messages: each is looked up there.
  const resent = await journey.admin(["room", "resend", "acme", room]);
  expect(resent).toEqual({ room, resent: 0 });
});

test("an observer that nobody in the room can invite is reported, messages wait, and a repair makes a new Matrix room", async () => {
  const { tenant } = journey;
  const room = "group:no-way-back";
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom(room, { members: [{ user: "ada" }] });
  await ada.say(room, "one", { waitS: 20 });
  await tenant.settled(room);
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  const path = `/rooms/${encodeURIComponent(matrixRoomId)}`;
  const socket = await tenant.socket(ada);

  expect((await journey.synapse.as(observer, "POST", `${path}/leave`, {})).status).toBe(200);
  // It is sent to the room that nobody reads, or it waits.
  await ada.say(room, "two");
  const names = async () =>
    ((await diagnose(room))["differences"] as { what: string }[]).map(({ what }) => what);
  await journey.waitFor("the diagnosis says so", async () =>
    (await names()).includes("observer cannot come back"),
  );
  await journey.waitFor("it is counted", async () => {
    return (await journey.tier("workers").metric("omc_observers_out")) === 1;
  });
  const waiting = await ada.say(room, "three");
  await journey.waitFor("the message was tried more often than a refusal may be", async () => {
    const [row] = await journey.sql<{ attempts: number }>(
      "select o.attempts from room_outbox o join rooms r on r.id = o.room_id where r.matrix_room_id = ?",
      [matrixRoomId],
    );
    return (row?.attempts ?? 0) > 3;
  });
  expect((await ada.read(room)).items).toContainEqual(
    expect.objectContaining({ id: waiting.id, status: expect.stringMatching(/queued|sending/), error: null }),
  );

  const repaired = await diagnose(room, "--repair");
  expect(repaired).toMatchObject({ room, differences: [] });
  await socket.waitFor("the messages are received", () => socket.texts(room).length === 2);
  await followed(room);
  expect(await tenant.matrixRoomId(room)).not.toBe(matrixRoomId);
  expect(await journey.synapse.joinedRooms(await tenant.matrixUserId("ada"))).not.toContain(matrixRoomId);
  expect((await ada.read(room)).items.map(({ text, status, number }) => [text, status, number])).toEqual([
    ["one", "sent", 2],
    ["two", "sent", 3],
    ["three", "sent", 4],
  ]);
  expect(await journey.tier("workers").metric("omc_observers_out")).toBe(0);
}, 90_000);

test.each([
  ["while it is read", "group:deleted", { block: false, purge: true }],
  ["for ever, while no worker runs", "group:deleted-blocked", { block: true, purge: true }],
  ["and kept in its tables", "group:deleted-kept", { block: false, purge: false }],
])(
  "a room that the homeserver's operator deletes %s goes on in a new Matrix room",
  async (when, room, how) => {
    const { ada, matrixRoomId, socket } = await openRoom(room);
    const isRead = !when.includes("no worker");
    if (!isRead) await journey.tier("workers").stop();
    await journey.synapse.deleteRoom(matrixRoomId, how);
    await ada.say(room, "two");
    if (!isRead) {
      const { differences } = await diagnose(room);
      expect(differences).toContainEqual({ what: "Matrix room is gone", wanted: "Ours", found: null });
      await journey.tier("workers").start();
    }
    await ada.say(room, "three", { waitS: 30 });
    await followed(room);
    await journey.tenant.settled(room);
    await socket.waitFor("the messages are received", () => socket.texts(room).length === 2);
    expect(await journey.tenant.matrixRoomId(room)).not.toBe(matrixRoomId);
    const { items } = await ada.read(room);
    expect(items.map(({ text, status, number }) => [text, status, number])).toEqual([
      ["one", "sent", 3],
      ["two", "sent", 4],
      ["three", "sent", 5],
    ]);
  },
  120_000,
);
