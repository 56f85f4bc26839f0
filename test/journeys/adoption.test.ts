import { expect, test } from "@jest/globals";
import { roomPath } from "../support/journey/clients.ts";
import { useJourney } from "../support/journey/journey.ts";
import { NioClient } from "../support/journey/nio.ts";

const journey = useJourney();
const encode = encodeURIComponent;

type Account = { matrixUserId: string; accessToken: string };

async function account(name: string, displayName: string): Promise<Account & { client: NioClient }> {
  const { synapse } = journey;
  const registered = await synapse.registerUnknownUser(name, displayName);
  journey.remember(registered.accessToken);
  const client = await NioClient.open({ homeserverUrl: synapse.url, deviceId: "PLAIN", ...registered });
  return { ...registered, client };
}

async function call({ accessToken }: Account, method: string, path: string, body?: unknown) {
  const answer = await journey.synapse.call(method, `/_matrix/client/v3${path}`, accessToken, body);
  expect([path, answer.status, JSON.stringify(answer.body)]).toEqual([path, 200, expect.any(String)]);
  return answer.body;
}

/** A Matrix room of two people whom no tenant knows. */
async function openOldRoom(version = "11") {
  const [founder, guest] = await Promise.all([account("founder", "Frida"), account("guest", "Gustav")]);
  const { room_id: id } = await call(founder, "POST", "/createRoom", {
    ...{ name: "The old place", topic: "Before", room_version: version, preset: "private_chat" },
    invite: [guest.matrixUserId],
  });
  const matrixRoomId = String(id);
  await guest.client.join(matrixRoomId);
  return { founder, guest, matrixRoomId };
}

/** Lets the tenant's bot in, as powerful as the founder. */
async function handOver({ founder, matrixRoomId }: Awaited<ReturnType<typeof openOldRoom>>) {
  const observer = await journey.tenant.observer();
  const levels = await call(founder, "GET", `/rooms/${encode(matrixRoomId)}/state/m.room.power_levels/`);
  await call(founder, "POST", `/rooms/${encode(matrixRoomId)}/invite`, { user_id: observer });
  await call(founder, "PUT", `/rooms/${encode(matrixRoomId)}/state/m.room.power_levels/`, {
    ...levels,
    users: { ...(levels["users"] as object), [observer]: 100 },
  });
}

const adopt = (room: string, matrixRoomId: string, ...options: string[]) =>
  journey.admin(["room", "adopt", "--tenant", "acme", room, matrixRoomId, ...options]);
const show = async (room: string) =>
  (await journey.admin(["room", "show", "acme", room])) as { adoption: Record<string, unknown> | null };

test("a Matrix room with a history is taken over while its workers are killed, and people go on talking after it", async () => {
  const { tenant } = journey;
  // The bot's account exists once the tenant has a room.
  const [ada] = await tenant.people("ada");
  await tenant.server.putRoom("group:first", { members: [{ user: "ada" }] });
  await tenant.settled("group:first");
  const old = await openOldRoom();
  const { founder, guest, matrixRoomId } = old;
  const expected: { text: string; by: string; edited: boolean; reactions: string[] }[] = [];
  for (let index = 0; index < 130; index++) {
    const [writer, by] = index % 3 === 0 ? [guest, "Gustav"] : [founder, "Frida"];
    const id = await writer.client.send(matrixRoomId, `message ${String(index)}`);
    const message = { text: `message ${String(index)}`, by, edited: false, reactions: [] as string[] };
    if (index % 10 === 1) {
      await writer.client.edit(matrixRoomId, id, `corrected ${String(index)}`);
      Object.assign(message, { text: `corrected ${String(index)}`, edited: true });
    }
    if (index % 10 === 2) {
      await guest.client.react(matrixRoomId, id, "👍");
      const taken = await founder.client.react(matrixRoomId, id, "👎");
      await founder.client.redact(matrixRoomId, taken);
      message.reactions.push("👍 1");
    }
    if (index % 10 === 3) await writer.client.redact(matrixRoomId, id, "by mistake");
    else expected.push(message);
  }
  const room = "group:adopted";
  await expect(adopt(room, matrixRoomId)).rejects.toThrow("invite it");
  await handOver(old);

  const workers = journey.tier("workers");
  await workers.stop();
  expect(await adopt(room, matrixRoomId)).toMatchObject({
    ...{ room, matrixRoomId, name: "The old place", state: "reading", people: 2 },
  });
  await tenant.server.putMembers(room, [{ user: "ada" }]);
  expect((await show(room)).adoption).toMatchObject({ state: "reading", entries: 1 });
  const early = await ada.call("POST", roomPath(room, "/messages"), { body: { text: "too early" } });
  expect([early.status, early.body]).toMatchObject([503, { code: "unavailable" }]);

  await workers.start();
  await journey.waitFor(
    "a page is read",
    async () => ((await show(room)).adoption?.["entries"] ?? 100) !== 1,
  );
  await workers.kill();
  await workers.start();
  await journey.waitFor("the history is read", async () => (await show(room)).adoption === null, 60_000);

  const items = await ada.readAll(room);
  expect(
    items.map(({ text, sender, editedAt, reactions }) => ({
      ...{ text, by: sender.displayName, edited: editedAt !== null },
      reactions: reactions.map(({ key, count }) => `${key} ${String(count)}`),
    })),
  ).toEqual(expected);
  expect(items.every(({ sender }) => sender.user === null)).toBe(true);
  expect(JSON.stringify(items)).not.toContain(founder.matrixUserId);
  expect(await ada.myRoom(room)).toMatchObject({ unread: 0, name: "The old place", topic: "Before" });

  await tenant.settled(room);
  const left = (await journey.adminWithCode(["room", "diagnose", "acme", room])).printed;
  expect(left).toMatchObject({ differences: [{ what: "power cannot be taken from" }] });
  const socket = await tenant.socket(ada);
  await ada.say(room, "new, by ada", { waitS: 20 });
  await guest.client.send(matrixRoomId, "new, by Gustav");
  await socket.waitFor("both came", () => socket.texts(room).length === 2);
  expect(socket.texts(room)).toEqual(["new, by ada", "new, by Gustav"]);
  const there = await founder.client.read(matrixRoomId);
  expect(there.slice(-2).map(({ body }) => body)).toEqual(["new, by ada", "new, by Gustav"]);
}, 180_000);

test("an encrypted room is refused, and of a long history only what is younger than a time is taken over", async () => {
  const { tenant } = journey;
  const [encrypted, long] = [await openOldRoom(), await openOldRoom("12")];
  await call(encrypted.founder, "PUT", `/rooms/${encode(encrypted.matrixRoomId)}/state/m.room.encryption/`, {
    algorithm: "m.megolm.v1.aes-sha2",
  });
  await handOver(encrypted);
  await expect(adopt("group:sealed", encrypted.matrixRoomId)).rejects.toThrow("encrypted");

  const { client } = long.founder;
  await client.send(long.matrixRoomId, "long ago");
  const since = new Date(Date.now() + 1);
  await journey.waitFor("a moment is over", () => Date.now() > since.getTime() + 1);
  await client.send(long.matrixRoomId, "of late");
  await handOver(long);
  await adopt("group:young", long.matrixRoomId, "--since", since.toISOString(), "--name", "Young");
  const [ada] = await tenant.people("ada");
  await tenant.server.putMembers("group:young", [{ user: "ada" }]);
  await journey.waitFor("the history is read", async () => (await show("group:young")).adoption === null);
  expect((await ada.readAll("group:young")).map(({ text }) => text)).toEqual(["of late"]);
}, 90_000);
