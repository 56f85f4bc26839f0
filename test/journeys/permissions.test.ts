import { describe, expect, test } from "@jest/globals";
import { z } from "zod";
import type { Publication } from "../../shared/contract/frames.ts";
import { isAllowed, type Permission, type Standing } from "../../shared/contract/permissions.ts";
import type { Role } from "../../shared/contract/roles.ts";
import type { Person, Socket } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();
/** The roles of people who are on Matrix, and how they are called. */
const ROLES = ["owner", "admin", "moderator", "speaker", "member"] as const satisfies readonly Role[];
type Name = (typeof ROLES)[number];

/** A room with a person of each role, who all have written, and the plain clients of some. */
async function begin(room: string, clients: readonly Name[]) {
  const { tenant } = journey;
  const people = {} as Record<Name, Person>;
  for (const name of ROLES) people[name] = await tenant.person(name);
  await tenant.server.putRoom(room, { members: ROLES.map((name) => ({ user: name, role: name })) });
  const written = {} as Record<Name, string>;
  for (const name of ROLES) written[name] = (await people[name].say(room, `I am ${name}`, { waitS: 30 })).id;
  await tenant.settled(room);
  const [matrixRoomId, observer] = [await tenant.matrixRoomId(room), await tenant.observer()];
  const plain = {} as Record<Name, NioClient>;
  for (const name of clients) plain[name] = await NioClient.open(await tenant.matrixLogin(name));
  const events = new Map(
    (
      await journey.sql<{ id: string; event: string }>(
        "select id, event_id as event from messages where event_id is not null",
      )
    ).map(({ id, event }) => [id, event]),
  );
  return {
    ...{ tenant, people, plain, matrixRoomId },
    eventOf: (name: Name) => events.get(written[name]) ?? "",
    messageOf: (name: Name) => written[name],
    id: (name: Name) => tenant.matrixUserId(name),
    socket: await tenant.socket(people.owner),
    state: async (type: string) => journey.synapse.state(observer, matrixRoomId, type),
    membership: async (name: Name) => {
      const at = `/rooms/${encodeURIComponent(matrixRoomId)}/state/m.room.member/${await tenant.matrixUserId(name)}`;
      return (await journey.synapse.as(observer, "GET", at)).body["membership"];
    },
    path: `/v1/rooms/group/${room.slice("group:".length)}`,
  };
}

function received<T extends Publication["type"]>(socket: Socket, room: string, type: T) {
  return socket
    .in(room)
    .flatMap(({ data }) => (data.type === type ? [data as Extract<Publication, { type: T }>] : []));
}

async function isAccepted(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

type Place = Awaited<ReturnType<typeof begin>>;

/** What a plain client does that needs each permission, as far as Matrix knows it. */
const ON_MATRIX: Partial<
  Record<Permission, (place: Place, client: NioClient, name: Name) => Promise<unknown>>
> = {
  react: ({ matrixRoomId, eventOf }, client) => client.react(matrixRoomId, eventOf("owner"), "+1"),
  post: ({ matrixRoomId }, client) => client.send(matrixRoomId, "from Matrix"),
  "edit own": ({ matrixRoomId, eventOf }, client, name) => client.edit(matrixRoomId, eventOf(name), "edited"),
  pin: ({ matrixRoomId, eventOf }, client) =>
    client.putState(matrixRoomId, "m.room.pinned_events", { pinned: [eventOf("owner")] }),
  describe: ({ matrixRoomId, path }, client, name) =>
    client.putState(matrixRoomId, "m.room.topic", { topic: `${path} by ${name}` }),
  "delete own": ({ matrixRoomId, eventOf }, client, name) => client.redact(matrixRoomId, eventOf(name)),
  "delete any": async ({ matrixRoomId, eventOf }, client, name) =>
    client.redact(matrixRoomId, eventOf(name === "speaker" ? "member" : "speaker")),
};

describe.each(["everyone", "speakers"] as const)("on Matrix where posting=%s", (posting) => {
  test("a plain client may do what the role of its person allows, and nothing else", async () => {
    const room = `group:levels-${posting}`;
    const place = await begin(room, ROLES);
    const changed = await place.people.owner.call("PATCH", place.path, { body: { posting } });
    expect(changed.status).toBeLessThan(300);
    await journey.waitFor("the levels follow", async () => {
      const levels = await place.state("m.room.power_levels");
      return levels?.["events_default"] === (posting === "speakers" ? 25 : 0);
    });
    const found: [Permission, Name, boolean][] = [];
    const expected: [Permission, Name, boolean][] = [];
    for (const permission of Object.keys(ON_MATRIX) as Permission[])
      for (const name of [...ROLES].reverse()) {
        const standing: Standing = `${posting} ${name}`;
        expected.push([permission, name, isAllowed(standing, permission)]);
        const work = ON_MATRIX[permission]?.(place, place.plain[name], name) ?? Promise.resolve();
        found.push([permission, name, await isAccepted(work)]);
      }
    expect(found).toEqual(expected);
  }, 120_000);
});

test("a muted member writes on Matrix no more, and again when the mute has ended by itself", async () => {
  const room = "group:mutes";
  const place = await begin(room, ["member"]);
  const mute = (mutedUntil: string) =>
    place.people.moderator.call("PUT", `${place.path}/members/member`, { body: { mutedUntil } });
  expect((await mute("2099-01-01T00:00:00Z")).status).toBeLessThan(300);
  const level = async () => {
    const users = (await place.state("m.room.power_levels"))?.["users"] as Record<string, number> | undefined;
    return users?.[await place.id("member")];
  };
  await journey.waitFor("the member is below all", async () => (await level()) === -1);
  expect(await isAccepted(place.plain.member.send(place.matrixRoomId, "let me speak"))).toBe(false);
  expect((await mute(new Date(Date.now() + 2_000).toISOString())).status).toBeLessThan(300);
  await journey.waitFor("the mute is over on Matrix", async () => (await level()) === undefined);
  expect(await isAccepted(place.plain.member.send(place.matrixRoomId, "at last"))).toBe(true);
  await place.socket.waitFor("it is here", () => place.socket.texts(room).includes("at last"));
}, 90_000);

test("a moderator of a plain client bans and unbans a person who is no member, and both count here", async () => {
  const room = "group:bans-both-ways";
  const { people, plain, matrixRoomId, id, path, membership } = await begin(room, ["moderator"]);
  const ban = async () => (await people.owner.call("GET", `${path}/bans/member`)).body;
  await people.moderator.call("DELETE", `${path}/members/member`);
  await journey.waitFor("the member is out", async () => (await membership("member")) === "leave");
  await plain.moderator.ban(matrixRoomId, await id("member"), "Spam");
  await journey.waitFor(
    "the ban is here",
    async () => ((await ban()) as { by?: unknown }).by === "moderator",
  );
  expect(await ban()).toMatchObject({ user: "member", reason: "Spam", status: "ready" });
  await plain.moderator.unban(matrixRoomId, await id("member"));
  await journey.waitFor(
    "the ban is over",
    async () => ((await ban()) as { code?: unknown }).code === "not_found",
  );

  expect((await people.moderator.call("PUT", `${path}/bans/member`)).status).toBeLessThan(300);
  await journey.waitFor("the ban is on Matrix", async () => (await membership("member")) === "ban");
  expect((await people.moderator.call("DELETE", `${path}/bans/member`)).status).toBe(204);
  await journey.waitFor("it is over there", async () => (await membership("member")) === "leave");
}, 90_000);

test("who is banned by a moderator of a plain client is out here with the ban, and cannot be added by people", async () => {
  const room = "group:bans-of-members";
  const { people, plain, matrixRoomId, id, path, socket } = await begin(room, ["moderator"]);
  await plain.moderator.ban(matrixRoomId, await id("member"), "Spam");
  await socket.waitFor("the member is out", () => received(socket, room, "member.left").length > 0);
  expect(received(socket, room, "member.left")).toMatchObject([
    { user: { user: "member" }, by: "moderator" },
  ]);
  const bans = z
    .object({ items: z.array(z.unknown()) })
    .parse((await people.admin.call("GET", `${path}/bans`)).body);
  expect(bans.items).toMatchObject([{ user: "member", by: "moderator", reason: "Spam" }]);
  expect((await people.owner.call("PUT", `${path}/members/member`)).status).toBe(409);
}, 90_000);

test("who leaves on a plain client has left here, except a direct room, where the person is joined again to write", async () => {
  const room = "group:leaves";
  const { tenant, people, plain, matrixRoomId, socket } = await begin(room, ["member"]);
  await plain.member.leave(matrixRoomId);
  await socket.waitFor("the member has left", () => received(socket, room, "member.left").length > 0);
  expect(received(socket, room, "member.left")).toMatchObject([{ user: { user: "member" }, by: "member" }]);
  expect((await people.member.call("GET", "/v1/rooms/group/leaves/messages")).status).toBe(404);

  const direct = "direct:member~owner";
  await tenant.server.putRoom(direct);
  await people.member.say(direct, "hello", { waitS: 30 });
  await people.owner.say(direct, "hello too", { waitS: 30 });
  await tenant.settled(direct);
  await plain.member.leave(await tenant.matrixRoomId(direct));
  await journey.waitFor("the leave is read", async () => {
    const [row] = await journey.sql<{ applied: string }>(
      `select s.applied from memberships s join rooms r on r.id = s.room_id join users u on u.id = s.user_id
        where r.kind = 'direct' and u.external_id = 'member'`,
    );
    return row?.applied === "out";
  });
  expect(await people.member.say(direct, "I am back", { waitS: 30 })).toMatchObject({ status: "sent" });
}, 90_000);

test("an admin names the room on a plain client, with the admin in the entry", async () => {
  const room = "group:named";
  const { people, plain, matrixRoomId, socket, state, tenant } = await begin(room, ["admin"]);
  await plain.admin.putState(matrixRoomId, "m.room.name", { name: "Chess club" });
  await plain.admin.putState(matrixRoomId, "m.room.topic", { topic: "Openings" });
  await socket.waitFor("both are here", () => received(socket, room, "room.changed").length >= 2);
  expect(received(socket, room, "room.changed")).toMatchObject([
    { changed: { name: "Chess club" }, by: "admin" },
    { changed: { topic: "Openings" }, by: "admin" },
  ]);
  expect(await tenant.server.room(room)).toMatchObject({ name: "Chess club", topic: "Openings" });
  expect(
    (await people.admin.call("PATCH", "/v1/rooms/group/named", { body: { name: "Go club" } })).status,
  ).toBe(202);
  await journey.waitFor("Matrix follows", async () => (await state("m.room.name"))?.["name"] === "Go club");
}, 90_000);

test("pins go both ways, and a deleted message is pinned no more", async () => {
  const room = "group:pins";
  const { people, plain, matrixRoomId, socket, state, path, eventOf, messageOf } = await begin(room, [
    "moderator",
  ]);
  const pins = async () => (await state("m.room.pinned_events"))?.["pinned"];
  const pinned = async () => {
    const { body } = await people.member.call("GET", `${path}/pins`);
    return z
      .object({ items: z.array(z.object({ id: z.uuid() })) })
      .parse(body)
      .items.map(({ id }) => id);
  };
  const pin = await people.moderator.call("PUT", `${path}/messages/${messageOf("member")}/pin`);
  expect(pin).toMatchObject({ status: 202, body: { pinned: true } });
  await journey.waitFor(
    "the pin is on Matrix",
    async () => JSON.stringify(await pins()) === JSON.stringify([eventOf("member")]),
  );

  await plain.moderator.putState(matrixRoomId, "m.room.pinned_events", {
    pinned: [eventOf("member"), eventOf("owner")],
  });
  await socket.waitFor("it is here", () => received(socket, room, "message.pinned").length >= 2);
  expect(received(socket, room, "message.pinned")).toMatchObject([
    { message: messageOf("member"), by: { user: "moderator" } },
    { message: messageOf("owner"), by: { user: "moderator" } },
  ]);
  expect(await pinned()).toEqual([messageOf("owner"), messageOf("member")]);

  await plain.moderator.putState(matrixRoomId, "m.room.pinned_events", { pinned: [eventOf("owner")] });
  await socket.waitFor("it is unpinned", () => received(socket, room, "message.unpinned").length > 0);
  expect(received(socket, room, "message.unpinned")).toMatchObject([{ message: messageOf("member") }]);

  expect((await people.owner.call("DELETE", `${path}/messages/${messageOf("owner")}`)).status).toBe(202);
  await journey.waitFor("the list on Matrix is empty", async () => JSON.stringify(await pins()) === "[]");
  expect(await pinned()).toEqual([]);
}, 90_000);
