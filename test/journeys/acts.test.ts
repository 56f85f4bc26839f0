import { beforeAll, describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { messageResource, type MessageResource } from "../../shared/contract/resources.ts";
import { roomPath, type Person, type Socket } from "../support/journey/clients.ts";
import { required, useJourney, type MatrixLogin } from "../support/journey/journey.ts";
import { NioClient, type NioEvent } from "../support/journey/nio.ts";
import { PEOPLE, TWO_WAYS, type Subject, type TwoWays, type Who } from "../support/two-ways.ts";

const journey = useJourney();
const room = "group:acts";
const LIMIT_MS = 60_000;

let people: Record<Who, Person>;
let logins: Record<Who, MatrixLogin>;
let matrixRoomId: string;

beforeAll(async () => {
  const { tenant } = journey;
  const [ada, bob, mia] = await tenant.people(...PEOPLE);
  people = { ada, bob, mia };
  await tenant.server.putRoom(room, {
    members: [{ user: "ada" }, { user: "bob" }, { user: "mia", role: "moderator" }],
  });
  // Who writes is joined on Matrix.
  for (const who of PEOPLE) await people[who].say(room, `I am ${who}`, { waitS: 20 });
  await tenant.settled(room);
  matrixRoomId = await tenant.matrixRoomId(room);
  const [ofAda, ofBob, ofMia] = [
    await tenant.matrixLogin("ada"),
    await tenant.matrixLogin("bob"),
    await tenant.matrixLogin("mia"),
  ];
  logins = { ada: ofAda, bob: ofBob, mia: ofMia };
}, LIMIT_MS);

async function eventOf(id: string): Promise<string> {
  const [row] = await journey.sql<{ event_id: string }>("select event_id from messages where id = ?", [id]);
  return required(row).event_id;
}

/** A message of ada that is on Matrix, with what the row needs. */
async function begin({ needsReaction }: Pick<TwoWays, "needsReaction">): Promise<Subject> {
  const { id } = await people.ada.say(room, "hello", { waitS: 20 });
  const subject: Subject = { room, matrixRoomId, id, event: await eventOf(id), reaction: null };
  if (needsReaction !== true) return subject;
  const path = roomPath(room, `/messages/${id}/reactions/${encodeURIComponent("👍")}`);
  const answer = await people.bob.call("PUT", path, { headers: { prefer: "wait=20" } });
  const { act } = z.looseObject({ act: z.looseObject({ id: z.string() }) }).parse(answer.body);
  await journey.tenant.settled(room);
  return { ...subject, reaction: await eventOf(act.id) };
}

async function get(id: string, as: Who = "bob"): Promise<MessageResource> {
  const { body } = await people[as].call("GET", roomPath(room, `/messages/${id}`));
  return messageResource.parse(body);
}

const eventsLike = (events: readonly NioEvent[], wanted: Partial<NioEvent>) =>
  events.filter((event) =>
    Object.entries(wanted).every(
      ([name, value]) => JSON.stringify(event[name as keyof NioEvent]) === JSON.stringify(value),
    ),
  );

async function senderId(who: Who | "observer"): Promise<string> {
  return who === "observer" ? journey.tenant.observer() : journey.tenant.matrixUserId(who);
}

/** Everything that a socket received of the act, in full. */
async function receive(socket: Socket, frame: Record<string, unknown>): Promise<void> {
  const isFrame = ({ data }: { data: unknown }) => {
    try {
      expect(data).toMatchObject(frame);
      return true;
    } catch {
      return false;
    }
  };
  await socket.waitFor(`${String(frame["type"])} is received`, () => socket.in(room).some(isFrame));
  expect(socket.in(room).filter(isFrame)).toHaveLength(1);
}

describe.each(TWO_WAYS)("$what", (row) => {
  test(
    "by REST reaches every socket, GET, and a plain Matrix client under the right sender, once",
    async () => {
      const subject = await begin(row);
      const [socket, client] = [await journey.tenant.socket(people.bob), await NioClient.open(logins.bob)];
      const answer = await row.rest(people[row.by], subject);
      expect([200, 202]).toContain((answer as { status: number }).status);
      await receive(socket, row.frame(subject));
      expect(await get(subject.id)).toMatchObject(row.shown);

      await journey.tenant.settled(room);
      const events = await client.readAll(matrixRoomId);
      const found = eventsLike(events, row.onMatrix(subject));
      expect(found).toMatchObject([{ sender: await senderId(row.sender) }]);
      const pruned = row.pruned?.(subject) ?? null;
      if (pruned !== null)
        expect(events.find(({ event }) => event === pruned)).toMatchObject({ pruned: true });
      // Its own event makes no second entry.
      expect(await get(subject.id)).toMatchObject(row.shown);
      await receive(socket, row.frame(subject));
    },
    LIMIT_MS,
  );

  test(
    "by a plain Matrix client reaches every socket and GET the same, and nothing is sent back",
    async () => {
      const subject = await begin(row);
      const [socket, client] = [
        await journey.tenant.socket(people.bob),
        await NioClient.open(logins[row.by]),
      ];
      await row.nio(client, subject);
      await receive(socket, row.frame(subject));
      expect(await get(subject.id)).toMatchObject(row.shown);
      await journey.tenant.settled(room);
      const found = eventsLike(await client.readAll(matrixRoomId), row.onMatrix(subject));
      expect(found).toMatchObject([{ sender: await senderId(row.by) }]);
    },
    LIMIT_MS,
  );
});

test(
  "a correction and a deletion that nobody may make here do not count: another's edit, a member's deletion of it",
  async () => {
    const subject = await begin({});
    const client = await NioClient.open(logins.bob);
    await client.edit(matrixRoomId, subject.event, "what bob wants");
    await expect(client.redact(matrixRoomId, subject.event)).rejects.toThrow("M_FORBIDDEN");
    // What comes after it is read after it.
    await client.react(matrixRoomId, subject.event, "🎉");
    await journey.waitFor("the reaction counts", async () => (await get(subject.id)).reactions.length === 1);
    expect(await get(subject.id)).toMatchObject({ text: "hello", editedAt: null, deletedAt: null });
  },
  LIMIT_MS,
);

test(
  "two equal reactions of a person, with and without the emoji selector, count once; a removal here takes both away",
  async () => {
    const subject = await begin({});
    const client = await NioClient.open(logins.bob);
    await client.react(matrixRoomId, subject.event, "❤️");
    const second = await client.react(matrixRoomId, subject.event, "❤");
    await journey.waitFor("both are read", async () => {
      const rows = await journey.sql("select 1 from reaction_events where message_id = ?", [subject.id]);
      return rows.length === 2;
    });
    expect((await get(subject.id)).reactions).toEqual([{ key: "❤", count: 1, users: ["bob"] }]);
    const path = roomPath(room, `/messages/${subject.id}/reactions/${encodeURIComponent("❤️")}`);
    await people.bob.call("DELETE", path);
    await journey.tenant.settled(room);
    const events = await client.readAll(matrixRoomId);
    const ofMessage = events.filter(({ type, event }) => type === "m.reaction" && event === second);
    expect(ofMessage).toMatchObject([{ pruned: true }]);
    expect(eventsLike(events, { type: "m.reaction", target: subject.event })).toEqual([]);
    expect((await get(subject.id)).reactions).toEqual([]);
  },
  LIMIT_MS,
);

test(
  "a redacted edit gives back the text before it, on every socket",
  async () => {
    const subject = await begin({});
    const [socket, client] = [await journey.tenant.socket(people.bob), await NioClient.open(logins.ada)];
    const edited = await client.edit(matrixRoomId, subject.event, "a mistake");
    await receive(socket, { type: "message.edited", message: { id: subject.id, text: "a mistake" } });
    await client.redact(matrixRoomId, edited);
    await receive(socket, { type: "message.edited", message: { id: subject.id, text: "hello" } });
    expect(await get(subject.id)).toMatchObject({ text: "hello", editedAt: null });
    expect(await journey.readRedis()).not.toContain("a mistake");
  },
  LIMIT_MS,
);
