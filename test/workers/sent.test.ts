import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import { settleMessages } from "../../shared/db/messages/settle.ts";
import { findDueSent } from "../../shared/db/rooms/room-mirrors.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { openWorkerRedis, type Redis } from "../../shared/platform/redis.ts";
import { roomLiveMessage } from "../../shared/timeline/live-messages.ts";
import { publishSent } from "../../shared/timeline/publish-sent.ts";
import { createSentPublisher } from "../../workers/outbound/sent-publisher.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let subscriber: Redis;
let room: Room;
let ids: string[];
let received: { type: string; room: string; number: number; after: number | undefined }[];
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
  subscriber = openWorkerRedis(place.redisUrl, place.log, "subscriber");
});
beforeEach(async () => {
  room = await place.room(`group:sent-${++count}`, ["ada"]);
  ids = (await place.accept(room, "ada", "one", "two", "three", "four")).map(({ id }) => id);
  received = [];
  await subscriber.subscribe(roomLiveChannel(room.id));
  subscriber.on("message", (channel, text) => {
    const live = roomLiveMessage.parse(JSON.parse(text));
    if (channel !== roomLiveChannel(room.id)) return;
    received.push({
      ...(JSON.parse(live.data) as { type: string; room: string; number: number }),
      after: live.after,
    });
  });
});
afterEach(async () => {
  jest.useRealTimers();
  subscriber.removeAllListeners("message");
  await subscriber.unsubscribe();
});
afterAll(async () => {
  subscriber.disconnect();
  await place.close();
});

/** An observer reads the events of the messages at these positions. */
async function see(...positions: number[]): Promise<void> {
  const events = positions.map((position) => {
    const messageId = ids[position] ?? "";
    return { roomId: room.id, messageId, eventId: `$${messageId}` };
  });
  await transactPipelined(place.db, [settleMessages(events)]);
}

const publish = () => publishSent(place, [room.id]);

type Mirror = { sent_number: number; is_due: boolean; waiting: number };
async function mirror(): Promise<Mirror | undefined> {
  const [row] = await place.sql<Mirror>(
    `select sent_number, sent_due_at is not null as is_due, o.accepted_count - closed_count as waiting
       from room_mirrors join room_outbox o using (room_id) where room_id = ?`,
    [room.id],
  );
  return row;
}

test("the number rises to the message before the first one that no observer has seen", async () => {
  await see(1);
  await publish();
  expect(await mirror()).toEqual({ sent_number: 0, is_due: false, waiting: 3 });
  await see(0);
  await publish();
  expect(await mirror()).toEqual({ sent_number: 2, is_due: false, waiting: 2 });
  await see(2, 3);
  await publish();
  expect(await mirror()).toEqual({ sent_number: 4, is_due: false, waiting: 0 });
  await until(() => received.length === 2, "both numbers are received");
  const key = `group:${room.slug}`;
  expect(received).toEqual([
    { type: "sent", room: key, number: 2, after: 2 },
    { type: "sent", room: key, number: 4, after: 4 },
  ]);
});

test("the number does not go back when a message is queued again, and rises when it is seen again", async () => {
  await see(0, 1, 2);
  await publish();
  await place.sql(
    "update messages set status = 'queued', open = true, timeline_number = null, event_id = null where id = ?",
    [ids[1] ?? ""],
  );
  await see(3);
  await publish();
  expect(await mirror()).toMatchObject({ sent_number: 3, is_due: false });
  await see(1);
  await publish();
  expect(await mirror()).toMatchObject({ sent_number: 4, is_due: false });
  await until(() => received.length === 2, "both numbers are received");
  expect(received.map(({ number }) => number)).toEqual([3, 4]);
});

test("a number that Redis did not take stays due, and is published later", async () => {
  await see(0);
  const refusing = {
    pipeline: () => {
      throw new Error("Redis is away");
    },
  } as unknown as Redis;
  await expect(publishSent({ db: place.db, redis: refusing }, [room.id])).rejects.toThrow("Redis is away");
  expect(await mirror()).toMatchObject({ sent_number: 1, is_due: true });
  expect(await findDueSent(place.db, { dueForMs: 0, limit: 100 })).toContain(room.id);
  expect(await publish()).toBe(1);
  await until(() => received.length === 1, "the number is received");
});

test("a message that is seen while the number is published makes the room due again", async () => {
  await see(0);
  let isHeld = true;
  const slow = {
    pipeline: () => {
      const pipeline = place.redis.pipeline();
      const exec = pipeline.exec.bind(pipeline);
      pipeline.exec = async () => {
        if (isHeld) await see(1);
        isHeld = false;
        return exec();
      };
      return pipeline;
    },
    script: place.redis.script.bind(place.redis),
  } as unknown as Redis;
  await publishSent({ db: place.db, redis: slow }, [room.id]);
  expect(await mirror()).toMatchObject({ sent_number: 1, is_due: true });
  await publish();
  expect(await mirror()).toMatchObject({ sent_number: 2, is_due: false });
});

test("messages that are seen and published at the same time end with the last number, which never goes back", async () => {
  ids = (await place.accept(room, "ada", ...Array.from({ length: 60 }, (_, index) => `text ${index}`))).map(
    ({ id }) => id,
  );
  await place.sql("update messages set open = false, status = 'sent' where room_id = ? and not id = any(?)", [
    room.id,
    ids,
  ]);
  const seeing = Array.from({ length: 6 }, async (_, part) => {
    for (let position = part; position < 60; position += 6) await see(position);
  });
  let isOver = false;
  const publishing = Array.from({ length: 3 }, async () => {
    while (!isOver) await publish();
  });
  await Promise.all(seeing);
  isOver = true;
  await Promise.all(publishing);
  await publish();
  expect(await mirror()).toMatchObject({ sent_number: 64, is_due: false });
  await until(() => received.at(-1)?.number === 64, "the last number is received");
  const numbers = received.map(({ number }) => number);
  expect(numbers).toEqual([...new Set(numbers)].toSorted((one, other) => one - other));
});

test("a publisher publishes a room at once, then once a second, and always what was added last", async () => {
  jest.useFakeTimers();
  const published: string[][] = [];
  const publisher = createSentPublisher(
    (rooms) => Promise.resolve(published.push(rooms)),
    (error) => {
      throw error;
    },
  );
  publisher.add(["a"]);
  await jest.advanceTimersByTimeAsync(1);
  expect(published).toEqual([["a"]]);
  for (let round = 0; round < 5; round++) {
    publisher.add(["a", `b${round}`]);
    await jest.advanceTimersByTimeAsync(100);
  }
  expect(published.flat().filter((room) => room === "a")).toEqual(["a"]);
  expect(published.slice(1)).toEqual([["b0"], ["b1"], ["b2"], ["b3"], ["b4"]]);
  await jest.advanceTimersByTimeAsync(600);
  expect(published.at(-1)).toEqual(["a"]);
  await jest.advanceTimersByTimeAsync(5_000);
  expect(published).toHaveLength(7);
  await publisher.stop();
});

test("a publisher goes on after a failure", async () => {
  jest.useFakeTimers();
  const failures: unknown[] = [];
  let calls = 0;
  const publisher = createSentPublisher(
    () => (++calls === 1 ? Promise.reject(new Error("away")) : Promise.resolve()),
    (error) => failures.push(error),
  );
  publisher.add(["a"]);
  await jest.advanceTimersByTimeAsync(1);
  publisher.add(["a"]);
  await jest.advanceTimersByTimeAsync(1_100);
  expect([calls, failures.length]).toEqual([2, 1]);
  await publisher.stop();
});
