import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { endMemberships } from "../../shared/db/memberships/memberships.ts";
import {
  markDeadOfRemovedSender,
  markDeadOfDeletedRooms,
} from "../../shared/db/messages/dead/dead-messages.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { roomLiveChannel } from "../../shared/platform/redis-keys.ts";
import { openWorkerRedis } from "../../shared/platform/redis.ts";
import { NOT_ANSWERING } from "../../workers/matrix/homeserver/breaker.ts";
import type { JobResult } from "../../workers/runtime/context.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { createRecentSends } from "../../workers/outbound/recent-sends.ts";
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

let clockMs = 0;
const recentSends = createRecentSends(() => clockMs);

function drain(inRoom = room): Promise<JobResult> {
  const context = { ...place.context(homeserver), recentSends };
  return handleOutboundMessage(context, { tenantId: place.tenantId, roomId: inRoom.id });
}

/** A message of another room is sent: the homeserver is well. */
async function sendElsewhere(): Promise<void> {
  const other = await place.room(`group:out-other-${++count}`, ["cleo"]);
  await place.accept(other, "cleo", "elsewhere");
  await drain(other);
  clockMs += 1_000;
}

/** The room's first message had its last attempt so long ago, and what was known of it then stays. */
async function letPass(ms: number): Promise<void> {
  clockMs += ms;
  const ago = [`${ms} milliseconds`, room.id];
  await place.sql(
    "update delivery_attempts set at = at - cast(? as interval) where message_id in (select id from messages where room_id = ?)",
    ago,
  );
  await place.sql(
    "update room_outbox set failing_since = failing_since - cast(? as interval) where room_id = ?",
    ago,
  );
  await becomeDue();
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

async function entries(): Promise<string[]> {
  const rows = await place.sql<{ type: string }>(
    "select type from timeline where room_id = ? order by number",
    [room.id],
  );
  return rows.map(({ type }) => type);
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
  const bob = { senderIds: [behind?.sender_id ?? ""], roomIds: [room.id] };
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

/** Fails the room's first message `times`, `everyMs` apart. `isServed`: others are sent in between. */
async function failMany(
  times: number,
  everyMs: number,
  { isServed = true, at = /\/send\// } = {},
): Promise<void> {
  for (let turn = 0; turn < times; turn++) {
    if (isServed) await sendElsewhere();
    homeserver.refuse(at, "transient");
    await drain();
    await letPass(everyMs);
  }
}

test("a message older than its tenant's limit is dead once it failed for a minute while others were sent", async () => {
  await setTenantLimits(place.db, "acme", { maxAgeMs: 60_000 });
  try {
    await place.accept(room, "ada", "old", "young");
    await place.sql(
      "update messages set accepted_at = now() - interval '2 minutes' where room_id = ? and order_number = 1",
      [room.id],
    );
    await failMany(2, 40_000);
    expect(await statuses()).toEqual(["sending", "queued"]);
    await failMany(1, 40_000);
    await drain();
    expect(await statuses()).toEqual(["dead expired", "sent"]);
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
});

test("a message without a verdict for 15 minutes while others are sent is dead, and its room goes on", async () => {
  await place.accept(room, "ada", "one", "two");
  // 22 times 40 s.
  await failMany(23, 40_000);
  expect(await statuses()).toEqual(["sending", "queued"]);
  await failMany(1, 40_000);
  expect(await statuses()).toEqual(["dead unanswered", "queued"]);
  await drain();
  expect(await statuses()).toEqual(["dead unanswered", "sent"]);
  expect(homeserver.texts.filter((text) => text !== "elsewhere")).toEqual(["two"]);
  expect(await place.sql("select failing_since from room_outbox where room_id = ?", [room.id])).toEqual([
    { failing_since: null },
  ]);
});

test("a message whose sender cannot join is dead a minute after the first failure, and its room goes on", async () => {
  await place.accept(room, "ada", "one");
  await place.accept(room, "bob", "two");
  await failMany(2, 40_000, { at: /\/join$/ });
  expect(await statuses()).toEqual(["sending", "queued"]);
  await failMany(1, 40_000, { at: /\/join$/ });
  await drain();
  expect(await statuses()).toEqual(["dead unanswered", "sent"]);
});

test("nothing is dead while the homeserver is away for an hour, and nothing dies right after", async () => {
  await place.accept(room, "ada", "one");
  await failMany(2, 40_000);
  await failMany(90, 40_000, { isServed: false });
  homeserver.fail(/\/send\//, new MatrixFailure("transient", { errcode: NOT_ANSWERING, httpStatus: null }));
  await drain();
  await letPass(3_600_000);
  // It is back: others are sent first.
  await failMany(1, 40_000);
  expect(await statuses()).toEqual(["sending"]);
  await drain();
  expect(await statuses()).toEqual(["sent"]);
});

test("a message has the time of its acceptance on Matrix, again at a repeated send, where the homeserver keeps it", async () => {
  const [message] = await place.accept(room, "ada", "one");
  homeserver.refuse(/\/send\//, "transient", { isApplied: true });
  await drain();
  await becomeDue();
  await drain();
  const times = () =>
    homeserver.calls.filter(({ path }) => path.includes("/send/")).map(({ query }) => query["ts"]);
  const at = String(message?.accepted_at.getTime());
  expect(times()).toEqual([at, at]);

  homeserver = new FakeHomeserver({ keepsTime: false });
  await place.accept(room, "ada", "two");
  await drain();
  expect(times()).toEqual([undefined]);
});

test("the second event of a message that an observer has seen by another event is redacted by the observer", async () => {
  await place.accept(room, "ada", "one");
  homeserver.meanwhile = async (path) => {
    if (!path.includes("/send/")) return;
    await place.sql(
      "update messages set status = 'sent', open = false, event_id = '$seen' where room_id = ?",
      [room.id],
    );
  };
  await drain();
  const redacted = homeserver.calls.filter(({ path }) => path.includes("/redact/"));
  const creator = homeserver.calls.find(({ path }) => path === "/createRoom")?.as;
  expect(redacted).toMatchObject([
    { as: creator, path: expect.stringContaining(encodeURIComponent("/send/")) },
  ]);
  expect(await place.sql("select status, open, event_id from messages where room_id = ?", [room.id])).toEqual(
    [{ status: "sent", open: false, event_id: "$seen" }],
  );
});

test("a drain goes on after a message that an observer has seen while the drain was about to give it up", async () => {
  await place.accept(room, "ada", "one", "two");
  homeserver.refuse(/\/send\//, "permanent");
  homeserver.meanwhile = async (path) => {
    if (!path.includes("/send/")) return;
    homeserver.meanwhile = () => Promise.resolve();
    await place.sql(
      "update messages set status = 'sent', open = false, event_id = '$seen' where room_id = ? and order_number = 1",
      [room.id],
    );
  };
  expect(await drain()).toEqual({ retryInMs: 0 });
  await drain();
  expect(await statuses()).toEqual(["sent", "sent"]);
  expect(await entries()).toEqual(["message.created", "message.created"]);
});

test("what Matrix refuses for good is also deleted here where the tenant wants so, and only then", async () => {
  const texts = () =>
    place.sql<{ text: string }>(
      "select content ->> 'text' as text from timeline where room_id = ? order by number",
      [room.id],
    );
  await place.accept(room, "ada", "kept");
  homeserver.refuse(/\/send\//, "permanent");
  await drain();
  expect(await statuses()).toEqual(["dead refused"]);
  expect((await texts())[0]).toEqual({ text: "kept" });
  await setTenantLimits(place.db, "acme", { onRefused: "hide" });
  try {
    await place.accept(room, "ada", "spam");
    homeserver.refuse(/\/send\//, "permanent");
    await drain();
  } finally {
    await setTenantLimits(place.db, "acme", {});
  }
  expect(await statuses()).toEqual(["dead refused", "dead refused"]);
  expect(await entries()).toEqual([
    "message.created",
    "message.failed",
    "message.created",
    "message.failed",
    "message.deleted",
  ]);
  expect((await texts())[2]).toEqual({ text: "" });
  expect(
    await place.sql("select content ->> 'text' as text from messages where room_id = ?", [room.id]),
  ).toEqual(expect.arrayContaining([{ text: "kept" }, { text: "" }]));
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

test("a room's subscribers receive a message's death as a numbered entry", async () => {
  const [message] = await place.accept(room, "ada", "one");
  homeserver.refuse(/\/send\//, "permanent");
  const received: unknown[] = [];
  const listener = openWorkerRedis(place.redisUrl, place.log, "listener");
  listener.on("message", (_channel, text) => received.push(JSON.parse(text)));
  await listener.subscribe(roomLiveChannel(room.id));
  await drain();
  await until(() => received.length > 0, "the subscriber receives it");
  listener.disconnect();
  expect(received).toMatchObject([
    { number: 2, data: expect.stringMatching(new RegExp(`message.failed.*${message?.id ?? "none"}`)) },
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
