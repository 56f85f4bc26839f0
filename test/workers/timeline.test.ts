import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { transact } from "../../shared/db/connection/transaction.ts";
import { roomLiveMessage } from "../../shared/timeline/live-messages.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomLiveChannel, roomStreamKey } from "../../shared/platform/redis-keys.ts";
import { openWorkerRedis } from "../../shared/platform/redis.ts";
import { appendEntries, type NewEntry } from "../../shared/timeline/append.ts";
import { findUnpublishedRooms } from "../../shared/db/timeline/publish-state.ts";
import { publishMarkedRooms, publishRooms } from "../../shared/timeline/publish.ts";
import { externalEntry, openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let count = 0;
let room: Room;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  room = await place.room(`group:timeline-${++count}`);
});
afterAll(() => place.close());

function append(...entries: NewEntry[]) {
  return transact(place.db, (trx) => appendEntries(trx, [{ roomId: room.id, entries }]));
}

async function appendTexts(from: number, to: number): Promise<void> {
  await append(
    ...upTo(to)
      .slice(from - 1)
      .map((number) => externalEntry(`text ${number}`)),
  );
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

async function numbers(roomId = room.id): Promise<number[]> {
  const rows = await place.sql<{ number: number }>(
    "select number from timeline where room_id = ? order by number",
    [roomId],
  );
  return rows.map(({ number }) => number);
}

type State = { epoch: string; last_number: number; message_count: number };
async function state(): Promise<State> {
  const [row] = await place.sql<State>(
    "select epoch, last_number, message_count from room_timeline where room_id = ?",
    [room.id],
  );
  if (!row) throw new Error("no timeline");
  return row;
}

async function streamNumbers(): Promise<number[]> {
  const entries = await place.redis.xrange(roomStreamKey(room.id, (await state()).epoch), "-", "+");
  return entries.map(([id]) => Number(id.split("-")[0]));
}

async function publish(): Promise<void> {
  await publishRooms(place, [room.id]);
}

/** Numbers that the room's live channel carries while `work` runs. */
async function receive(work: () => Promise<unknown>, last: number): Promise<number[]> {
  const received: number[] = [];
  const subscriber = openWorkerRedis(place.redisUrl, place.log, "subscriber");
  try {
    await subscriber.subscribe(roomLiveChannel(room.id));
    subscriber.on("message", (_channel, text) =>
      received.push(roomLiveMessage.parse(JSON.parse(text)).number ?? 0),
    );
    await work();
    await until(() => received.includes(last), `${last} is received`);
    return received;
  } finally {
    subscriber.disconnect();
  }
}

test("forty appends at the same time leave no gap and no duplicate", async () => {
  await Promise.all(upTo(40).map((number) => append(externalEntry(`text ${number}`))));
  expect(await numbers()).toEqual(upTo(40));
  expect(await state()).toMatchObject({ last_number: 40, message_count: 40 });
});

test("a timeline holds an entry once, by its id and by its event, however often it is offered", async () => {
  const [one, two] = [externalEntry("one"), externalEntry("two")];
  const again = { ...externalEntry("one again"), eventId: one.eventId };
  await append(one);
  const answers = [await append(one), await append(again), await append(two, two, one)];
  expect(answers.map((appended) => appended.map(({ number }) => number))).toEqual([[], [], [2]]);
  expect(await numbers()).toEqual([1, 2]);
});

test("a timeline holds an entry once when twenty transactions offer it at the same time", async () => {
  const entry = externalEntry("once");
  await Promise.all(upTo(20).map((number) => append(entry, externalEntry(`own ${number}`))));
  expect(await numbers()).toEqual(upTo(21));
});

test("appends to several rooms in any order at the same time do not deadlock", async () => {
  const rooms = await Promise.all(upTo(5).map((number) => place.room(`event:several-${number}`)));
  await Promise.all(
    upTo(40).map((round) => {
      const shuffled = rooms
        .map((_, index) => rooms[(index * 2 + round) % rooms.length])
        .filter((other) => other !== undefined);
      const offered = shuffled.map((other) => ({
        roomId: other.id,
        entries: [externalEntry(`round ${round}`)],
      }));
      return place.db.transaction((trx) => appendEntries(trx, offered));
    }),
  );
  for (const other of rooms) expect(await numbers(other.id)).toEqual(upTo(40));
});

test("an append that is rolled back gives its numbers back", async () => {
  await append(externalEntry("one"));
  const failing = place.db.transaction(async (trx) => {
    await appendEntries(trx, [{ roomId: room.id, entries: [externalEntry("never")] }]);
    throw new Error("rolled back");
  });
  await expect(failing).rejects.toThrow("rolled back");
  await append(externalEntry("two"));
  expect(await numbers()).toEqual([1, 2]);
});

test("publishing catches the stream up with the timeline, and a second time changes nothing", async () => {
  await appendTexts(1, 5);
  const received = await receive(async () => {
    await publish();
    await publish();
    await appendTexts(6, 7);
    await publish();
  }, 7);
  expect(received).toEqual(upTo(7));
  expect(await streamNumbers()).toEqual(upTo(7));
});

test("an append marks its room as unpublished, and publishing the marked rooms removes the mark", async () => {
  await appendTexts(1, 3);
  await until(
    async () => (await findUnpublishedRooms(place.db, 100)).includes(room.id),
    "the mark is a second old",
  );
  await publishMarkedRooms(place, 100);
  expect(await streamNumbers()).toEqual(upTo(3));
  expect(await place.sql("select 1 from unpublished_rooms where room_id = ?", [room.id])).toEqual([]);
});

test("a room that somebody appends to keeps its mark", async () => {
  await appendTexts(1, 3);
  const appending = await place.db.transaction();
  await appendEntries(appending, [{ roomId: room.id, entries: [externalEntry("four")] }]);
  const age = () =>
    place.sql("update unpublished_rooms set since = now() - interval '2 seconds' where room_id = ?", [
      room.id,
    ]);
  await age();
  await publishMarkedRooms(place, 100);
  expect(await streamNumbers()).toEqual(upTo(3));
  // From now on it marks what is appended now.
  expect(
    await place.sql(
      "select now() - since < interval '1 second' as is_new from unpublished_rooms where room_id = ?",
      [room.id],
    ),
  ).toEqual([{ is_new: true }]);
  await appending.commit();
  await age();
  await publishMarkedRooms(place, 100);
  expect(await streamNumbers()).toEqual(upTo(4));
});

test("ten publishers at the same time as appends publish every entry once, in order", async () => {
  const received = await receive(async () => {
    await Promise.all(
      upTo(10).map(async (publisher) => {
        for (let round = 0; round < 5; round++) {
          await append(externalEntry(`${publisher} ${round}`));
          await publish();
        }
      }),
    );
  }, 50);
  expect(received).toEqual(upTo(50));
  expect(await streamNumbers()).toEqual(upTo(50));
});

test("one call publishes more than one batch", async () => {
  await appendTexts(1, 1);
  await publish();
  await appendTexts(2, 700);
  expect(await receive(publish, 700)).toEqual(upTo(700).slice(1));
});

test("a stream that Redis lost begins with the newest 20 entries", async () => {
  await appendTexts(1, 700);
  await publish();
  await place.redis.del(roomStreamKey(room.id, (await state()).epoch));
  await appendTexts(701, 701);
  await publish();
  expect(await streamNumbers()).toEqual(upTo(701).slice(-20));
});

test("a stream that came back older than Postgres remembers receives the missing entries again", async () => {
  await appendTexts(1, 3);
  await publish();
  const key = roomStreamKey(room.id, (await state()).epoch);
  const saved = await place.redis.dumpBuffer(key);
  await appendTexts(4, 5);
  await publish();
  await place.redis.restore(key, 0, saved, "REPLACE");
  await appendTexts(6, 6);
  await publish();
  expect(await streamNumbers()).toEqual(upTo(6));
});

test("a room whose stream is ahead of its timeline gets a new epoch", async () => {
  await appendTexts(1, 3);
  await publish();
  const before = await state();
  await place.redis.xadd(roomStreamKey(room.id, before.epoch), "9-0", "m", "{}");
  await appendTexts(4, 4);
  await publish();
  const after = await state();
  expect(after.epoch).not.toBe(before.epoch);
  expect(after).toMatchObject({ last_number: 4 });
  expect(await streamNumbers()).toEqual(upTo(4));
});
