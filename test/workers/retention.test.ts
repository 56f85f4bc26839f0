import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { listTimelineMessages } from "../../shared/db/timeline/pages.ts";
import { readEntries } from "../../shared/db/timeline/publish-state.ts";
import { countUnread } from "../../shared/db/memberships/signs/unread.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import { presentEntry } from "../../shared/timeline/read.ts";
import { removeStaleStreams } from "../../shared/timeline/remove-stale-streams.ts";
import { withoutOld } from "../../workers/inbound/look-up.ts";
import { cutTimelines } from "../../workers/retention/cut-timelines.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

/** Says that Matrix has all messages of a room. */
async function markSent(room: Room): Promise<void> {
  await place.db.raw(
    "update messages set status = 'sent', open = false, event_id = '$' || id, seen_event_id = '$' || id where room_id = ?",
    [room.id],
  );
}

/** Says that a room's first entries are older than the room keeps them. */
async function age(room: Room, upTo: number): Promise<void> {
  await place.db.raw("update rooms set retention_days = 30 where id = ?", [room.id]);
  await place.db.raw(
    "update timeline set at = now() - interval '40 days' + number * interval '1 second' where room_id = ? and number <= ?",
    [room.id, upTo],
  );
}

const cut = () => cutTimelines(place.context());
const page = (room: Room, edge: { before: number } | { after: number } | null) =>
  listTimelineMessages(place.db, place.tenantId, room.id, { edge, limit: 100 });

async function timelineOf(room: Room) {
  const [row] = await place.sql<{
    cut_number: number;
    last_number: number;
    epoch: string;
    scrubs: number;
    not_before: Date;
  }>("select cut_number, last_number, epoch, scrubs, not_before from room_timeline where room_id = ?", [
    room.id,
  ]);
  if (!row) throw new Error("no timeline");
  return row;
}

test("entries that are older than the room keeps them are gone, from the first one upwards, with all that belongs to them", async () => {
  const room = await place.room("group:kept", ["ada", "bob"]);
  const old = await place.accept(room, "ada", "old 1", "old 2 @bob", "old 3");
  const young = await place.accept(room, "ada", "young 1", "young 2");
  const target = old[0]?.id ?? "";
  await place.act(room, "bob", target, { kind: "reaction", key: "👍" });
  await place.act(room, "ada", target, {
    ...{ kind: "edit", of: "text", text: "old, but edited of late", format: "plain" },
    ...{ html: null, mentions: { users: [], room: false } },
  });
  await place.db.raw("insert into mentions (user_id, room_id, number, message_id) values (?, ?, ?, ?)", [
    await place.userId("bob"),
    room.id,
    old[1]?.number ?? 0,
    old[1]?.id ?? "",
  ]);
  await markSent(room);
  await publishRooms(place, [room.id]);
  const before = await timelineOf(room);
  const stream = roomStreamKey(room.id, before.epoch, before.scrubs);
  expect(JSON.stringify(await place.redis.xrange(stream, "-", "+"))).toContain("old 2");

  await age(room, old[2]?.number ?? 0);
  await cut();

  const after = await timelineOf(room);
  expect(after).toMatchObject({ cut_number: 3, last_number: before.last_number, epoch: before.epoch });
  expect(after.scrubs).toBe(before.scrubs + 1);
  await removeStaleStreams(place, 100);
  expect(await place.redis.exists(stream)).toBe(0);
  for (const text of ["old 1", "old 2", "old 3", "edited of late"])
    for (const table of ["messages", "timeline"])
      expect(await place.sql(`select 1 from ${table} where content::text like '%${text}%'`)).toEqual([]);
  for (const table of ["message_states", "reactions", "reaction_counts", "mentions"])
    expect(await place.sql(`select 1 from ${table} where room_id = ?`, [room.id])).toEqual([]);
  expect((await page(room, null)).map(({ entry_id: id }) => id)).toEqual(young.map(({ id }) => id));
  expect(await page(room, { before: 4 })).toEqual([]);
  expect((await page(room, { after: 0 })).map(({ number }) => number)).toEqual([4, 5]);

  // What is left can be published: the edit and the reaction of what is gone say that it is deleted.
  const entries = await readEntries(place.db, [
    { roomId: room.id, epoch: after.epoch, after: 3, limit: 100 },
  ]);
  expect(entries.map((row) => presentEntry(row).type)).toEqual([
    ...["message.created", "message.created", "message.deleted", "message.deleted"],
  ]);
});

test("what is cut counts as unread for nobody, and what is left still does", async () => {
  const room = await place.room("group:kept-unread", ["una", "max"]);
  await place.accept(room, "max", ...Array.from({ length: 6 }, (_, index) => String(index)));
  await markSent(room);
  const una = await place.userId("una");
  expect((await countUnread(place.db, [una]))[0]?.unread).toBe(6);
  await age(room, 4);
  await cut();
  expect((await countUnread(place.db, [una]))[0]?.unread).toBe(2);
  await place.accept(room, "max", "one more");
  expect((await countUnread(place.db, [una]))[0]?.unread).toBe(3);
});

test("the cut ends before what is still on its way to Matrix, and goes on later", async () => {
  const room = await place.room("group:kept-open", ["ada"]);
  const messages = await place.accept(room, "ada", "first", "waits", "third");
  await markSent(room);
  await place.db.raw("update messages set open = true, status = 'queued' where id = ?", [
    messages[1]?.id ?? "",
  ]);
  await age(room, 3);
  await cut();
  expect((await timelineOf(room)).cut_number).toBe(1);
  await markSent(room);
  await cut();
  expect((await timelineOf(room)).cut_number).toBe(3);
  expect(await page(room, null)).toEqual([]);
  const [next] = await place.accept(room, "ada", "a new one");
  expect(next?.number).toBe(4);
});

test("a long timeline is cut in parts, and a room that keeps everything is not touched", async () => {
  const [long, other] = [
    await place.room("group:kept-long", ["ada"]),
    await place.room("group:kept-all", ["ada"]),
  ];
  for (let batch = 0; batch < 12; batch++)
    await place.accept(
      long,
      "ada",
      ...Array.from({ length: 100 }, (_, index) => `${String(batch)} ${String(index)}`),
    );
  await place.accept(other, "ada", "stays");
  await markSent(long);
  await markSent(other);
  await age(long, 1_150);
  await place.db.raw("update timeline set at = now() - interval '9 years' where room_id = ?", [other.id]);
  await cut();
  expect((await timelineOf(long)).cut_number).toBe(1_150);
  expect(await place.sql("select 1 from messages where room_id = ?", [long.id])).toHaveLength(50);
  expect(await page(other, null)).toHaveLength(1);
});

test("events of Matrix from before the cut are not taken over again, unless they are ours and here", () => {
  const event = (id: string, ts: number) => ({
    ...{ event_id: id, type: "m.room.message", sender: "@a:test", origin_server_ts: ts, content: {} },
  });
  const events = [event("$old", 10), event("$ours", 10), event("$young", 11)];
  const kept = withoutOld(events, 10, ({ event_id: id }) => id === "$ours");
  expect(kept.map(({ event_id: id }) => id)).toEqual(["$ours", "$young"]);
  expect(withoutOld(events, null, () => false)).toEqual(events);
});
