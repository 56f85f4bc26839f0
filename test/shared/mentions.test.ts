import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import type { Content } from "../../shared/contract/content/index.ts";
import { appendMatrixAct, appendRedaction } from "../../shared/db/acts/append-matrix-act.ts";
import { transactPipelined, type Statement } from "../../shared/db/connection/pipelined-transaction.ts";
import { lockTimeline } from "../../shared/db/timeline/append.ts";
import { acceptMessages } from "../../shared/db/messages/accept/accept-messages.ts";
import { readUpTo } from "../../shared/db/memberships/signs/positions.ts";
import { countUnread } from "../../shared/db/memberships/signs/unread.ts";
import { listMyRooms } from "../../shared/db/rooms/my-rooms.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newId } from "../../shared/platform/ids.ts";
import { userStreamKey } from "../../shared/platform/redis-keys.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { listenTo, type LiveChannel } from "../support/live-channel.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let room: Room;
let channel: LiveChannel;
let rooms = 0;

beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  room = await place.room(`group:mentions-${++rooms}`, ["ada", "bob", "cleo"]);
  await place.sql("update rooms set member_count = 3 where id = ?", [room.id]);
  const userIds = await Promise.all(["ada", "bob", "cleo"].map((user) => place.userId(user)));
  channel = await listenTo(place.redis, room.id, userIds);
});
afterEach(() => {
  channel.close();
});
afterAll(() => place.close());

type More = { mentions?: { users: string[]; room: boolean }; replyTo?: string };
const naming = (...users: string[]): More => ({ mentions: { users, room: false } });

/** Accepts a message of ada. The content of a text has more fields than this program reads. */
async function say(text: string, more: More): Promise<{ id: string; number: number }> {
  const content = { kind: "text", text, ...more } as Content;
  const [accepted] = await acceptMessages(place.db, [
    {
      ...{ tenantId: place.tenantId, user: "ada", room: { kind: room.kind, slug: room.slug }, content },
      ...{ clientId: null, requestHash: null, stamp: null },
    },
  ]);
  if (accepted?.outcome !== "accepted") throw new Error("not accepted");
  return { id: accepted.message.id, number: accepted.entry.number };
}

/** How many mentions each member has in the room. */
async function mentions(): Promise<Record<string, number>> {
  const counts = await Promise.all(
    ["ada", "bob", "cleo"].map(async (user) => {
      const rows = await listMyRooms(place.db, place.tenantId, user, { limit: 100, cursor: null });
      return [user, rows.find(({ id }) => id === room.id)?.mentions ?? -1] as const;
    }),
  );
  return Object.fromEntries(counts);
}

const edit = (...users: string[]): ActContent => ({
  ...{ kind: "edit", of: "text", text: "corrected", format: "plain", html: null },
  mentions: { users, room: false },
});

test("members who are named are mentioned once, without the author and people who are not in the room", async () => {
  await place.userId("outsider");
  await say("@bob @ada @outsider", naming("bob", "bob", "ada", "outsider"));
  expect(await mentions()).toEqual({ ada: 0, bob: 1, cleo: 0 });
  await say("nobody", {});
  expect(await mentions()).toEqual({ ada: 0, bob: 1, cleo: 0 });
});

test("a mention of the room is one of everybody but its author, and counts once beside a name", async () => {
  await say("@room @bob", { mentions: { users: ["bob"], room: true } });
  expect(await mentions()).toEqual({ ada: 0, bob: 1, cleo: 1 });
});

test("a reply mentions whom it answers, also one that was written on Matrix", async () => {
  const first = newId();
  const cleo = await place.userId("cleo");
  const entry = (entryId: string, senderId: string, more: More) => ({
    ...{ entryId, eventId: `$${newId()}`, type: "message.created" as const, senderId, senderName: null },
    ...{ clientId: null, content: { kind: "text", text: "on Matrix", ...more }, at: null },
  });
  const append = (entries: ReturnType<typeof entry>[]) =>
    place.db.transaction((trx) => appendEntries(trx, [{ roomId: room.id, entries }]));
  await append([entry(first, cleo, {})]);
  await say("yes", { replyTo: first });
  expect(await mentions()).toEqual({ ada: 0, bob: 0, cleo: 1 });
  await append([entry(newId(), await place.userId("bob"), naming("cleo", "ada"))]);
  expect(await mentions()).toEqual({ ada: 1, bob: 0, cleo: 2 });
});

test("a mention is read with its message, and counts in the total of all rooms", async () => {
  const { number } = await say("@bob", naming("bob"));
  const bob = await place.userId("bob");
  const [before] = await countUnread(place.db, [bob]);
  expect(before?.mentions).toBeGreaterThanOrEqual(1);
  expect(await readUpTo(place.db, { roomId: room.id, userId: bob, number })).toMatchObject({ mentions: 0 });
  const [after] = await countUnread(place.db, [bob]);
  expect(after?.mentions).toBe((before?.mentions ?? 0) - 1);
});

test("an edit replaces whom its message mentions, and a deletion removes them", async () => {
  const { id } = await say("@bob @room", { mentions: { users: ["bob"], room: true } });
  expect(await place.act(room, "ada", id, edit("bob", "cleo"))).toMatchObject({ outcome: "done" });
  expect(await mentions()).toEqual({ ada: 0, bob: 1, cleo: 1 });
  expect(await place.act(room, "ada", id, edit("cleo"))).toMatchObject({ outcome: "done" });
  expect(await mentions()).toEqual({ ada: 0, bob: 0, cleo: 1 });
  expect(await place.act(room, "ada", id, { kind: "deletion", reason: null })).toMatchObject({
    outcome: "done",
  });
  expect(await mentions()).toEqual({ ada: 0, bob: 0, cleo: 0 });
  expect(await place.sql("select 1 from mentions where message_id = ?", [id])).toEqual([]);
});

test("people receive once that a message mentions them, without its text; a mention of a big room is not published", async () => {
  const published = () => channel.published.flatMap((event) => (event.type === "mention" ? [event] : []));
  const { id, number } = await say("a secret @bob", naming("bob"));
  await publishRooms(place, [room.id]);
  await publishRooms(place, [room.id]);
  await until(() => published().length > 0, "the mention came");
  const by = { ref: await place.userId("ada"), user: "ada", displayName: null, avatar: null };
  expect(published()).toEqual([{ type: "mention", room: `group:${room.slug}`, message: id, number, by }]);
  await say("@room", { mentions: { users: [], room: true } });
  await publishRooms(place, [room.id]);
  await until(() => published().length === 3, "everybody else received it");
  await place.sql("update rooms set member_count = 101 where id = ?", [room.id]);
  await say("@room again", { mentions: { users: [], room: true } });
  await say("@cleo", naming("cleo"));
  await publishRooms(place, [room.id]);
  await until(() => published().length === 4, "the name came");
  expect(await mentions()).toEqual({ ada: 0, bob: 3, cleo: 3 });
});

test("an edit is published to those people alone whom no version before it mentions", async () => {
  const published = () => channel.published.flatMap((event) => (event.type === "mention" ? [event] : []));
  const lengthOf = async (user: string) => place.redis.xlen(userStreamKey(await place.userId(user)));
  const { id, number } = await say("@bob", naming("bob"));
  await publishRooms(place, [room.id]);
  await until(() => published().length === 1, "the mention came");
  const before = await lengthOf("cleo");
  await place.act(room, "ada", id, edit("bob"));
  await place.act(room, "ada", id, edit("bob", "cleo"));
  await place.act(room, "ada", id, edit("cleo"));
  await publishRooms(place, [room.id]);
  const next = await say("@bob", naming("bob"));
  await publishRooms(place, [room.id]);
  await until(() => published().some((event) => event.number === next.number), "the next message came");
  expect(published().filter((event) => event.number === number)).toEqual([
    expect.objectContaining({ type: "mention", message: id }),
    expect.objectContaining({ type: "mention", message: id }),
  ]);
  expect((await lengthOf("cleo")) - before).toBe(1);
});

test("the redaction of an edit brings back whom the version before it mentions", async () => {
  const { id } = await say("@bob", naming("bob"));
  const userId = await place.userId("ada");
  const act = {
    ...{ roomId: room.id, senderMatrixId: "@ada:test", userId, name: null, ref: userId },
    at: new Date().toISOString(),
  };
  await place.sql("update messages set event_id = '$m', seen_event_id = '$m' where id = ?", [id]);
  const onMatrix = (statements: Statement[]) =>
    transactPipelined(place.db, [lockTimeline(room.id), ...statements]);
  await onMatrix([
    appendMatrixAct({ ...act, eventId: "$e", targetEventId: "$m", kind: "edit", content: edit("cleo") }),
  ]);
  expect(await mentions()).toEqual({ ada: 0, bob: 0, cleo: 1 });
  const content = { kind: "deletion" as const, reason: null };
  await onMatrix(appendRedaction({ ...act, eventId: "$r", targetEventId: "$e", kind: "deletion", content }));
  expect(await mentions()).toEqual({ ada: 0, bob: 1, cleo: 0 });
});
