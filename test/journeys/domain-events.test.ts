import { expect, test } from "@jest/globals";
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { EventType } from "../../shared/contract/events/index.ts";
import { roomPath } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";

const journey = useJourney();
const receipt = z.strictObject({ accepted: z.int(), duplicates: z.int() });

/** Sends events in one call; each is `[type, data]`. */
async function tell(...events: [EventType, unknown][]): Promise<void> {
  const batch = events.map(([type, data]) => ({
    ...{ specversion: "1.0", id: randomUUID(), source: "/journey", type, data },
  }));
  const answer = await journey.tenant.server.expect(receipt, "POST", "/v1/events", {
    body: batch,
    headers: { "content-type": "application/cloudevents-batch+json" },
  });
  expect(answer).toEqual({ accepted: events.length, duplicates: 0 });
}

/** What Matrix has of a room. */
async function onMatrix(room: string) {
  const { tenant, synapse } = journey;
  const [observer, matrixRoomId] = [await tenant.observer(), await tenant.matrixRoomId(room)];
  return {
    matrixRoomId,
    name: async () => (await synapse.state(observer, matrixRoomId, "m.room.name"))?.["name"],
    topic: async () => (await synapse.state(observer, matrixRoomId, "m.room.topic"))?.["topic"],
    levelOf: async (user: string) => {
      const { users } = (await synapse.state(observer, matrixRoomId, "m.room.power_levels")) as {
        users: Record<string, number>;
      };
      return users[await tenant.matrixUserId(user)];
    },
    has: async (user: string) =>
      (await synapse.joinedMembers(observer, matrixRoomId)).includes(await tenant.matrixUserId(user)),
  };
}

/** A person writes, and is on Matrix in the room then. */
async function write(user: string, room: string): Promise<void> {
  const person = await journey.tenant.person(user);
  await person.say(room, `${user} is here`, { waitS: 20 });
}

async function becomes(what: string, look: () => Promise<unknown>, value: unknown): Promise<void> {
  await journey.waitFor(what, async () => (await look()) === value);
}

/** Kinds of rooms that events are about. */
type Kind = "event" | "group";

const EFFECTS = {
  ...describeRooms("event"),
  ...describeRooms("group"),
  "chat.event.attendee.updated": async () => {
    await tell(["chat.event.attendee.updated", { event: "party", user: "guest-1", status: "confirmed" }]);
    await write("guest-1", "event:party");
    const room = await onMatrix("event:party");
    await tell(["chat.event.attendee.updated", { event: "party", user: "guest-1", status: "waitlist" }]);
    await becomes("the attendee is out", () => room.has("guest-1"), false);
  },
  "chat.group.member.role": async () => {
    await tell(["chat.group.member.add", { group: "roles", user: "riser" }]);
    await write("riser", "group:roles");
    await tell(["chat.group.member.role", { group: "roles", user: "riser", role: "moderator" }]);
    const room = await onMatrix("group:roles");
    await becomes("the member has a moderator's level", () => room.levelOf("riser"), 50);
  },
  "chat.user.updated": async () => {
    const { tenant, synapse } = journey;
    await tell(["chat.user.updated", { user: "named", displayName: "Before" }]);
    await tell(["chat.user.updated", { user: "named", displayName: "Naomi" }]);
    const id = await tenant.matrixUserId("named");
    const path = `/profile/${encodeURIComponent(id)}/displayname`;
    await becomes(
      "the account has the name",
      async () => (await synapse.as(id, "GET", path)).body["displayname"],
      "Naomi",
    );
  },
  "chat.user.deleted": async () => {
    const { tenant } = journey;
    await tell(
      ["chat.group.member.add", { group: "left", user: "leaver" }],
      ["chat.group.member.add", { group: "left", user: "stayer" }],
    );
    await write("leaver", "group:left");
    const stayer = await tenant.person("stayer");
    const direct = await tenant.server.expect(
      z.looseObject({ room: z.string() }),
      "PUT",
      "/v1/rooms/direct",
      {
        body: { users: ["leaver", "stayer"] },
      },
    );
    const socket = await tenant.socket(stayer);
    const room = await onMatrix("group:left");
    await tell(["chat.user.deleted", { user: "leaver", erase: true }]);
    await becomes("the account is out of the room", () => room.has("leaver"), false);
    await socket.waitFor("the others see the person leave", () =>
      socket.in("group:left").some(({ data }) => data.type === "member.left"),
    );
    await journey.waitFor(
      "the direct room is gone",
      async () => (await tenant.server.call("GET", roomPath(direct.room))).status === 404,
    );
    expect(await tenant.server.room("group:left")).toMatchObject({ members: 1 });
    await journey.waitFor("what the person wrote is emptied", async () => {
      const { items } = await stayer.read("group:left");
      return items.every(({ text, deletedAt }) => text === "" && deletedAt !== null);
    });
  },
} satisfies Record<EventType, () => Promise<void>>;

/** The effects of the types that events and groups share. */
function describeRooms<K extends Kind>(kind: K) {
  const type = <Rest extends string>(rest: Rest) => `chat.${kind}.${rest}` as const;
  const place = (slug: string) => ({ [kind]: slug });
  return {
    [type("created")]: async () => {
      await tell([type("created"), { ...place("made"), name: "Made by an event", host: "host" }]);
      await write("host", `${kind}:made`);
      const room = await onMatrix(`${kind}:made`);
      expect(await room.name()).toBe("Made by an event");
      await becomes("the host has an owner's level", () => room.levelOf("host"), 90);
    },
    [type("updated")]: async () => {
      await tell([type("created"), { ...place("changed"), name: "Old", host: "host" }]);
      const room = await onMatrix(`${kind}:changed`);
      await tell([type("updated"), { ...place("changed"), topic: "A topic" }]);
      await becomes("the topic is on Matrix", room.topic, "A topic");
      expect(await room.name()).toBe("Old");
    },
    [type("deleted")]: async () => {
      const { tenant, synapse } = journey;
      await tell([type("member.add"), { ...place("deleted"), user: "member" }]);
      await write("member", `${kind}:deleted`);
      const { matrixRoomId } = await onMatrix(`${kind}:deleted`);
      const socket = await tenant.socket(await tenant.person("member"));
      await tell([type("deleted"), place("deleted")]);
      expect((await tenant.server.call("GET", roomPath(`${kind}:deleted`))).status).toBe(404);
      await socket.waitFor("the member's subscription ends", () => socket.left.includes(`${kind}:deleted`));
      for (const account of [await tenant.matrixUserId("member"), await tenant.observer()])
        await journey.waitFor(
          "nobody is in the Matrix room",
          async () => !(await synapse.joinedRooms(account)).includes(matrixRoomId),
        );
    },
    [type("renamed")]: async () => {
      await tell([type("created"), { ...place("former"), name: "Same", host: "host" }]);
      const { matrixRoomId } = await onMatrix(`${kind}:former`);
      await tell([type("renamed"), { ...place("former"), slug: "present" }]);
      await write("host", `${kind}:present`);
      const room = await onMatrix(`${kind}:present`);
      expect(room.matrixRoomId).toBe(matrixRoomId);
      expect(await room.has("host")).toBe(true);
    },
    [type("member.add")]: async () => {
      await tell([type("member.add"), { ...place("joined"), user: "speaker", role: "speaker" }]);
      await write("speaker", `${kind}:joined`);
      const room = await onMatrix(`${kind}:joined`);
      expect(await room.has("speaker")).toBe(true);
      await becomes("the speaker has the level", () => room.levelOf("speaker"), 25);
    },
    [type("member.remove")]: async () => {
      await tell([type("member.add"), { ...place("removed"), user: "removed" }]);
      await write("removed", `${kind}:removed`);
      const room = await onMatrix(`${kind}:removed`);
      await tell([type("member.remove"), { ...place("removed"), user: "removed" }]);
      await becomes("the member is out", () => room.has("removed"), false);
    },
  } as Record<
    `chat.${K}.${"created" | "updated" | "deleted" | "renamed" | "member.add" | "member.remove"}`,
    () => Promise<void>
  >;
}

test.each(Object.entries(EFFECTS))("%s has its effect on Matrix", async (_type, effect) => {
  await effect();
});
