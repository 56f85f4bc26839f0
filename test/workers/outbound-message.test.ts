import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { endMemberships } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfRemovedSender, markDeadOfDeletedRooms } from "../../shared/db/messages/dead-messages.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { openWorkerRedis } from "../../shared/platform/redis.ts";
import { NOT_ANSWERING } from "../../workers/matrix/homeserver/breaker.ts";
import type { JobResult } from "../../workers/runtime/context.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:out-${++count}`, ["ada", "bob"]);
});
afterAll(() => place.close());

function drain(): Promise<JobResult> {
  return handleOutboundMessage(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

/** The delay is over. */
async function becomeDue(): Promise<void> {
  await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
}

async function statuses(): Promise<string[]> {
  const rows = await place.sql<{ status: string; error_code: string | null }>(
    "select status, error_code from messages where room_id = ? order by order_number",
    [room.id],
  );
  return rows.map(({ status, error_code }) => (error_code === null ? status : `${status} ${error_code}`));
}

test("a room's messages are sent in the order accepted, by their senders, after what they need was created", async () => {
  await place.accept(room, "ada", "one", "two");
  await place.accept(room, "bob", "three");

  expect(await drain()).toEqual({ retryInMs: null });

  expect(homeserver.texts).toEqual(["one", "two", "three"]);
  expect(await statuses()).toEqual(["sent", "sent", "sent"]);
  const made = homeserver.calls.map(({ path }) => path);
  expect(made.indexOf("/createRoom")).toBeLessThan(made.findIndex((path) => path.includes("/join")));
  expect(made.findIndex((path) => path.includes("/join"))).toBeLessThan(
    made.findIndex((path) => path.includes("/send/")),
  );
  expect(made.filter((path) => path.includes("/join"))).toHaveLength(2);
  expect(
    new Set(homeserver.calls.filter(({ path }) => path.includes("/send/")).map(({ as }) => as)).size,
  ).toBe(2);
});

test("one drain sends many messages, in order", async () => {
  const texts = Array.from({ length: 130 }, (_, index) => `text ${index}`);
  await place.accept(room, "ada", ...texts);
  await drain();
  expect(homeserver.texts).toEqual(texts);
  expect(new Set(await statuses())).toEqual(new Set(["sent"]));
});

test("a message whose answer is lost blocks its room, and is sent again as the same event", async () => {
  await place.accept(room, "ada", "one", "two");
  homeserver.refuse(/\/send\//, "transient", { isApplied: true });

  expect((await drain()).retryInMs).toBeGreaterThan(0);
  expect(homeserver.attempts).toEqual(["one"]);
  expect(await statuses()).toEqual(["sending", "queued"]);

  await becomeDue();
  await drain();
  expect(homeserver.attempts).toEqual(["one", "one", "two"]);
  expect(homeserver.texts).toEqual(["one", "two"]);
  expect(await statuses()).toEqual(["sent", "sent"]);
});

test("messages after one that may be sent are dead when their sender is removed", async () => {
  await place.accept(room, "ada", "one");
  const [behind] = await place.accept(room, "bob", "two");
  homeserver.refuse(/\/send\//, "transient");
  await drain();
  const bob = { senderId: behind?.sender_id ?? "", roomIds: [room.id] };
  await markDeadOfRemovedSender(place.db, place.tenantId, bob);
  expect(await statuses()).toEqual(["sending", "dead sender_removed"]);
});

test("a message that was claimed and not tried when its sender was removed is not sent later", async () => {
  const [, behind] = [
    ...(await place.accept(room, "ada", "one")),
    ...(await place.accept(room, "bob", "two")),
  ];
  await place.sql("update memberships set applied = 'in' where room_id = ?", [room.id]);
  homeserver.refuse(/\/send\//, "transient");
  homeserver.meanwhile = async (path) => {
    if (!path.includes("/send/")) return;
    homeserver.meanwhile = () => Promise.resolve();
    await endMemberships(place.db, place.tenantId, behind?.sender_id ?? "", [room.id]);
  };
  await drain();
  await becomeDue();
  await drain();
  await drain();
  expect(homeserver.texts).toEqual(["one"]);
  expect(await statuses()).toEqual(["sent", "dead sender_removed"]);
});

test("a message that a crashed drain may have sent is sent again, also of a sender who was removed since", async () => {
  const [message] = await place.accept(room, "ada", "one");
  await place.sql("update memberships set applied = 'in' where room_id = ?", [room.id]);
  await place.sql("update messages set status = 'sending' where room_id = ?", [room.id]);
  await endMemberships(place.db, place.tenantId, message?.sender_id ?? "", [room.id]);
  await drain();
  expect(await statuses()).toEqual(["sent"]);
});

test("a message that a crashed drain may have sent stays claimed, also after a message that fails", async () => {
  await place.accept(room, "ada", "one", "two");
  await place.sql("update messages set status = 'sending' where room_id = ?", [room.id]);
  homeserver.refuse(/\/send\//, "transient");
  await drain();
  expect(await statuses()).toEqual(["sending", "sending"]);
});

test("nothing is created or sent for a deleted room, and none of its messages stays open", async () => {
  const [sent] = await place.accept(room, "ada", "sent", "sending", "queued");
  await place.sql("update messages set status = 'sending' where room_id = ? and order_number = 2", [room.id]);
  await place.sql("update messages set status = 'sent', event_id = '$1' where id = ?", [sent?.id]);
  await markDeadOfDeletedRooms(place.db, place.tenantId, [room.id]);
  await place.sql("update rooms set deleted_at = now() where id = ?", [room.id]);
  await becomeDue();
  place.wakes.length = 0;
  await drain();
  expect([homeserver.calls, place.wakes.map(({ name }) => name)]).toEqual([[], ["provisioning"]]);
  expect(await place.sql("select next_attempt_at from room_outbox where room_id = ?", [room.id])).toEqual([
    { next_attempt_at: null },
  ]);
  expect(await statuses()).toEqual(["sent", "dead room_deleted", "dead room_deleted"]);
  expect(await place.sql("select 1 as one from messages where room_id = ? and open", [room.id])).toEqual([]);
});

test("the release of a room's lease wakes nothing of a paused tenant", async () => {
  await place.accept(room, "ada", "one");
  await place.sql("update tenants set status = 'paused'");
  try {
    place.wakes.length = 0;
    await drain();
    expect([homeserver.calls, place.wakes]).toEqual([[], []]);
  } finally {
    await place.sql("update tenants set status = 'active'");
  }
});

test("a 429 of the homeserver delays the room as long as it asks for, and no message is dead", async () => {
  await place.accept(room, "ada", "one");
  for (let refusals = 0; refusals < 10; refusals++) {
    homeserver.refuse(/\/send\//, "limited", { retryAfterMs: 5_000 });
    expect((await drain()).retryInMs).toBeGreaterThanOrEqual(5_000);
    await becomeDue();
  }
  await drain();
  expect(await statuses()).toEqual(["sent"]);
});

test("a message that waited longer than its tenant's limit is dead", async () => {
  await setTenantLimits(place.db, "acme", { maxAgeMs: 60_000 });
  try {
    await place.accept(room, "ada", "old", "young");
    await place.sql(
      "update messages set accepted_at = now() - interval '2 minutes' where room_id = ? and order_number = 1",
      [room.id],
    );
    for (let turn = 0; turn < 2; turn++) {
      homeserver.refuse(/\/send\//, "transient");
      await drain();
      await becomeDue();
    }
    expect(await statuses()).toEqual(["dead expired", "sending"]);
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
});

test("a message that is refused for good is dead, and the next ones are sent", async () => {
  await place.accept(room, "ada", "one", "bad", "three");
  await place.sql(
    'update messages set content = \'{"text": "bad"}\' where room_id = ? and order_number = 2',
    [room.id],
  );
  const [, bad] = await place.sql<{ id: string }>(
    "select id from messages where room_id = ? order by order_number",
    [room.id],
  );
  homeserver.refuse(new RegExp(bad?.id ?? "none"), "permanent");

  expect(await drain()).toEqual({ retryInMs: 0 });
  await drain();

  expect(await statuses()).toEqual(["sent", "dead refused", "sent"]);
  expect(homeserver.texts).toEqual(["one", "three"]);
});

test("a refused sender is joined again, and no attempt is counted", async () => {
  await place.accept(room, "ada", "one");
  homeserver.refuse(/\/send\//, "forbidden");
  await drain();
  expect(await statuses()).toEqual(["sent"]);
  expect(homeserver.calls.filter(({ path }) => path.includes("/join"))).toHaveLength(2);
  expect(
    await place.sql(
      "select 1 as one from delivery_attempts a join messages m on m.id = a.message_id where m.room_id = ?",
      [room.id],
    ),
  ).toEqual([]);
});

test("a message waits while the observer, which invites its sender, is suspended", async () => {
  await place.accept(room, "ada", "one");
  const suspended = { errcode: "M_USER_SUSPENDED", httpStatus: 403 };
  for (let attempt = 0; attempt < 2; attempt++) {
    homeserver.fail(/\/invite$/, new MatrixFailure("account", suspended));
    expect((await drain()).retryInMs).toBeGreaterThan(0);
    expect(await statuses()).toEqual(["sending"]);
    await becomeDue();
  }
  await drain();
  expect(await statuses()).toEqual(["sent"]);
});

test("a message refused at the third attempt is dead, and operators see the attempts", async () => {
  await place.accept(room, "ada", "one");
  for (let turn = 0; turn < 3; turn++) {
    homeserver.refuse(/\/send\//, "forbidden");
    homeserver.refuse(/\/send\//, "forbidden");
    await drain();
    await becomeDue();
  }
  expect(await statuses()).toEqual(["dead forbidden"]);
  expect(
    await place.sql(
      "select failure from delivery_attempts a join messages m on m.id = a.message_id where m.room_id = ?",
      [room.id],
    ),
  ).toEqual([{ failure: "forbidden" }, { failure: "forbidden" }, { failure: "forbidden" }]);
});

test("only refusals count towards the third refusal: not that the homeserver was silent before", async () => {
  await place.accept(room, "ada", "one");
  for (let turn = 0; turn < 4; turn++) {
    homeserver.refuse(/\/send\//, "transient");
    await drain();
    await becomeDue();
  }
  homeserver.refuse(/\/send\//, "forbidden");
  homeserver.refuse(/\/send\//, "forbidden");
  await drain();
  expect(await statuses()).toEqual(["sending"]);
});

test("a call that the open breaker rejects is no attempt: operators see none", async () => {
  await place.accept(room, "ada", "one");
  homeserver.fail(/\/send\//, new MatrixFailure("transient", { errcode: NOT_ANSWERING, httpStatus: null }));
  expect((await drain()).retryInMs).toBeGreaterThan(0);
  const tries = await place.sql(
    "select 1 as one from delivery_attempts a join messages m on m.id = a.message_id where m.room_id = ?",
    [room.id],
  );
  expect(tries).toEqual([]);
});

test("a room's subscribers receive a dead message after the entries that its timeline had then", async () => {
  await place.accept(room, "ada", "one");
  await place.sql("update room_timeline set last_number = 7, epoch = 'e' where room_id = ?", [room.id]);
  homeserver.refuse(/\/send\//, "permanent");
  const received: unknown[] = [];
  const listener = openWorkerRedis(place.redisUrl, place.log, "listener");
  listener.on("message", (_channel, text) => received.push(JSON.parse(text)));
  await listener.subscribe(roomLiveChannel(room.id));
  await drain();
  await until(() => received.length > 0, "the subscriber receives it");
  listener.disconnect();
  expect(received).toMatchObject([
    { number: null, after: 7, epoch: "e", data: expect.stringContaining("message.failed") },
  ]);
});

test("a user who was removed while a message waited is not joined again", async () => {
  const [message] = await place.accept(room, "ada", "one");
  await endMemberships(place.db, place.tenantId, message?.sender_id ?? "", [room.id]);
  await drain();
  expect(await statuses()).toEqual(["dead sender_removed"]);
  expect(homeserver.calls.filter(({ path }) => /join|invite|send/.test(path))).toEqual([]);
});

test("a job does nothing in a room whose lease is held", async () => {
  await place.accept(room, "ada", "one");
  await place.sql(
    "update room_outbox set fence = gen_random_uuid(), lease_until = now() + interval '1 minute' where room_id = ?",
    [room.id],
  );
  expect(await drain()).toEqual({ retryInMs: null });
  expect(homeserver.calls).toEqual([]);
  expect(await statuses()).toEqual(["queued"]);
});

test("an unexpected failure is thrown and marks no message dead: all are sent at the next attempt", async () => {
  await place.accept(room, "ada", "one");
  const broken = { ...place.context(homeserver), homeserver: () => Promise.reject(new Error("unexpected")) };
  const payload = { tenantId: place.tenantId, roomId: room.id };
  await expect(handleOutboundMessage(broken, payload)).rejects.toThrow("unexpected");
  await drain();
  expect(await statuses()).toEqual(["sent"]);
});
