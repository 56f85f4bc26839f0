import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { markDeadOfRemovedSender } from "../../shared/db/messages/dead/dead-messages.ts";
import { acceptMessages } from "../../shared/db/messages/accept/accept-messages.ts";
import { settleMessages } from "../../shared/db/messages/settle.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { claimMessages, endBatch } from "../../shared/db/messages/outbox.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { acquireRoomLease, releaseRoomLease } from "../../shared/db/rooms/room-lease.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

async function takeFence(room: Room): Promise<string> {
  const fence = newFence();
  if (!(await acquireRoomLease(place.db, { tenantId: place.tenantId, roomId: room.id, fence, claim: 0 })))
    throw new Error("the lease is held");
  return fence;
}

async function isDue(room: Room): Promise<boolean> {
  const [row] = await place.sql<{ due: boolean }>(
    "select next_attempt_at is not null as due from room_outbox where room_id = ?",
    [room.id],
  );
  return row?.due ?? false;
}

test("messages are claimed in the order accepted, batch after batch", async () => {
  const room = await place.room("group:order", ["ada", "bob"]);
  for (let turn = 0; turn < 5; turn++)
    for (const user of ["ada", "bob"]) await place.accept(room, user, `${user} ${turn}`);
  const fence = await takeFence(room);

  const first = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 4 });
  const second = await claimMessages(place.db, room.id, { fence, afterOrder: 4, limit: 100 });

  expect(
    [...(first?.messages ?? []), ...(second?.messages ?? [])].map(({ content, order_number }) => [
      order_number,
      content["text"],
    ]),
  ).toEqual(
    Array.from({ length: 10 }, (_, index) => [
      index + 1,
      `${index % 2 === 0 ? "ada" : "bob"} ${Math.floor(index / 2)}`,
    ]),
  );
  expect(first?.messages).toHaveLength(4);
  expect(first?.messages[0]).toEqual({
    id: expect.any(String),
    request_id: null,
    order_number: 1,
    content: { kind: "text", text: "ada 0" },
    target_id: null,
    acts_as: "sender",
    replayed: false,
    refers_to: null,
    accepted_at_ms: expect.any(Number),
    age_ms: expect.any(Number),
    attempts: 0,
    was_sending: false,
    sender_id: await place.userId("ada"),
    sender_matrix_id: expect.stringMatching(/^@/),
    sender_is_registered: false,
    sender_is_wanted: true,
    sender_is_joined: false,
  });
  expect(second?.lastOrder).toBe(10);
});

test("messages accepted at the same time by many have one order without a hole", async () => {
  const room = await place.room("group:many", ["ada", "bob", "cleo"]);
  await Promise.all(
    Array.from({ length: 60 }, (_, index) =>
      place.accept(room, ["ada", "bob", "cleo"][index % 3] ?? "", `text ${index}`),
    ),
  );
  const rows = await place.sql<{ order_number: number }>(
    "select order_number from messages where room_id = ? order by order_number",
    [room.id],
  );
  expect(rows.map(({ order_number }) => order_number)).toEqual(
    Array.from({ length: 60 }, (_, index) => index + 1),
  );
});

test("a message that a dead worker had claimed is claimed again, before the next ones", async () => {
  const room = await place.room("group:again", ["ada"]);
  await place.accept(room, "ada", "first", "second");
  const dead = await takeFence(room);
  await claimMessages(place.db, room.id, { fence: dead, afterOrder: 0, limit: 1 });
  await place.sql("update room_outbox set lease_until = now() - interval '1 second' where room_id = ?", [
    room.id,
  ]);

  const fence = await takeFence(room);
  const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 });

  expect(claim?.messages.map(({ content }) => content["text"])).toEqual(["first", "second"]);
});

test("a sent message is not claimed again", async () => {
  const room = await place.room("group:sent", ["ada"]);
  await place.accept(room, "ada", "first", "second");
  const fence = await takeFence(room);
  const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 1 });
  const [first] = claim?.messages ?? [];
  await endBatch(place.db, room.id, fence, { sent: [{ id: first?.id ?? "", eventId: "$1" }], untried: [] });

  const rest = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 });

  expect(rest?.messages.map(({ content }) => content["text"])).toEqual(["second"]);
});

test("a message that is accepted while its room's lease is released stays due, in either order", async () => {
  const room = await place.room("group:race", ["ada"]);
  let fence: string;
  for (let round = 0; round < 60; round++) {
    fence = await takeFence(room);
    const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 100 });
    const sent = claim?.messages.map(({ id }) => ({ id, eventId: `$${id}` })) ?? [];
    await endBatch(place.db, room.id, fence, { sent, untried: [] });
    const [accepted] = await Promise.all([
      place.accept(room, "ada", `round ${round}`),
      releaseRoomLease(place.db, room.id, fence, claim?.lastOrder ?? 0),
    ]);
    expect(accepted).toHaveLength(1);
    expect(await isDue(room)).toBe(true);
  }
  fence = await takeFence(room);
  const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 100 });
  await releaseRoomLease(place.db, room.id, fence, claim?.lastOrder ?? 0);
  expect(await isDue(room)).toBe(false);
});

test("acquiring a lease claims the room's oldest messages, as many as asked for; later ones are claimed after them", async () => {
  const room = await place.room("group:leased", ["ada"]);
  await place.accept(room, "ada", "first", "second", "third");

  const leased = await acquireRoomLease(place.db, {
    tenantId: place.tenantId,
    roomId: room.id,
    fence: newFence(),
    claim: 2,
  });

  expect(leased?.claimed.map(({ content }) => content["text"])).toEqual(["first", "second"]);
  expect(leased?.claimed_order).toBe(3);
});

test("acquiring a lease while a message is being accepted waits for that message, and claims it", async () => {
  const room = await place.room("group:early", ["ada"]);
  const message = {
    tenantId: place.tenantId,
    user: "ada",
    room,
    content: { kind: "text" as const, text: "early" },
    clientId: null,
    requestHash: null,
    stamp: null,
  };
  for (let round = 0; round < 20; round++) {
    let acquiring: ReturnType<typeof acquireRoomLease> = Promise.resolve(null);
    const fence = newFence();
    const asked = { tenantId: place.tenantId, roomId: room.id, fence, claim: 10 };
    await acceptMessages(place.db, [message], () => {
      acquiring = acquireRoomLease(place.db, asked);
    });
    const leased = await acquiring;
    expect(leased?.claimed.map(({ content }) => content["text"])).toEqual(["early"]);
    expect(leased?.claimed_order).toBe(round + 1);
    const sent = leased?.claimed.map(({ id }) => ({ id, eventId: `$${id}` })) ?? [];
    await releaseRoomLease(place.db, room.id, fence, round + 1, sent);
  }
});

test("acquiring a lease claims no messages that are due later", async () => {
  const room = await place.room("group:waiting", ["ada"]);
  await place.accept(room, "ada", "first");
  await place.sql("update room_outbox set next_attempt_at = now() + interval '1 minute' where room_id = ?", [
    room.id,
  ]);

  const leased = await acquireRoomLease(place.db, {
    tenantId: place.tenantId,
    roomId: room.id,
    fence: newFence(),
    claim: 2,
  });

  expect(leased?.claimed).toEqual([]);
  expect(leased?.outbox_wait_ms).toBeGreaterThan(0);
});

test("claiming more messages marks what was sent; after the lease ended, it marks and claims nothing", async () => {
  const room = await place.room("group:on", ["ada"]);
  await place.accept(room, "ada", "first", "second");
  const fence = await takeFence(room);
  const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 1 });
  const sent = [{ id: claim?.messages[0]?.id ?? "", eventId: "$1" }];
  const statuses = () =>
    place.sql("select status, event_id from messages where room_id = ? order by order_number", [room.id]);

  const foreign = { fence: newFence(), sent, afterOrder: 1, limit: 10 };
  expect(await claimMessages(place.db, room.id, foreign)).toBeNull();
  expect(await statuses()).toEqual([
    { status: "sending", event_id: null },
    { status: "queued", event_id: null },
  ]);

  const next = await claimMessages(place.db, room.id, { fence, sent, afterOrder: 1, limit: 10 });
  expect(next?.messages.map(({ content }) => content["text"])).toEqual(["second"]);
  expect(await statuses()).toEqual([
    { status: "sent", event_id: "$1" },
    { status: "sending", event_id: null },
  ]);
});

test("releasing a lease marks what was sent last", async () => {
  const room = await place.room("group:last", ["ada"]);
  const id = (await place.accept(room, "ada", "first"))[0]?.id ?? "";
  const fence = await takeFence(room);
  await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 });

  const due = await releaseRoomLease(place.db, room.id, fence, 1, [{ id, eventId: "$1" }]);

  expect(due).toMatchObject({ messages: false, isMarked: true });
  expect(await place.sql("select status, event_id from messages where id = ?", [id])).toEqual([
    { status: "sent", event_id: "$1" },
  ]);
});

test("releasing a lease that has ended marks nothing and settles nothing", async () => {
  const room = await place.room("group:ended", ["ada"]);
  const id = (await place.accept(room, "ada", "first"))[0]?.id ?? "";
  const fence = await takeFence(room);
  await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 });
  await place.sql("update room_outbox set lease_until = now() - interval '1 second' where room_id = ?", [
    room.id,
  ]);

  const due = await releaseRoomLease(place.db, room.id, fence, 1, [{ id, eventId: "$1" }]);

  expect(due).toMatchObject({ messages: true, isMarked: false });
  expect(await place.sql("select status from messages where id = ?", [id])).toEqual([{ status: "sending" }]);
});

test("a removed sender's queued messages are dead; those being sent, and other senders', are not", async () => {
  const room = await place.room("group:removed", ["ada", "bob"]);
  await place.accept(room, "bob", "being sent", "queued");
  await place.accept(room, "ada", "ada's");
  const fence = await takeFence(room);
  await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 1 });

  const killed = await markDeadOfRemovedSender(place.db, place.tenantId, {
    senderIds: [await place.userId("bob")],
    roomIds: [room.id],
  });

  expect(killed).toHaveLength(1);
  const rows = await place.sql(
    "select content ->> 'text' as text, status, open, error_code from messages where room_id = ? order by order_number",
    [room.id],
  );
  expect(rows).toEqual([
    { text: "being sent", status: "sending", open: true, error_code: null },
    { text: "queued", status: "dead", open: false, error_code: "sender_removed" },
    { text: "ada's", status: "queued", open: true, error_code: null },
  ]);
  const rest = await claimMessages(place.db, room.id, { fence, afterOrder: 1, limit: 10 });
  expect(rest?.messages.map(({ content }) => content["text"])).toEqual(["ada's"]);
});

test("an answer of Matrix that comes too late does not change a dead message", async () => {
  const room = await place.room("group:late", ["ada"]);
  const [message] = await place.accept(room, "ada", "dead");
  const fence = await takeFence(room);
  await place.sql("update messages set status = 'dead', open = false where room_id = ?", [room.id]);
  await endBatch(place.db, room.id, fence, {
    sent: [{ id: message?.id ?? "", eventId: "$late" }],
    untried: [],
  });
  expect(await place.sql("select status from messages where room_id = ?", [room.id])).toEqual([
    { status: "dead" },
  ]);
});

test("an event's id is written once: an answer that brings another one is a duplicate, and the event that the observer has read stays", async () => {
  const room = await place.room("group:once", ["ada"]);
  const ids = (await place.accept(room, "ada", "seen", "seen by another event", "not seen")).map(
    ({ id }) => id,
  );
  const fence = await takeFence(room);
  await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 });
  await place.sql(
    "update messages set status = 'sent', open = false, event_id = '$seen-' || order_number where room_id = ? and order_number < 3",
    [room.id],
  );
  const sent = [
    { id: ids[0] ?? "", eventId: "$seen-1" },
    { id: ids[1] ?? "", eventId: "$second" },
    { id: ids[2] ?? "", eventId: "$first" },
  ];

  expect(await endBatch(place.db, room.id, fence, { sent, untried: [] })).toEqual({
    duplicates: ["$second"],
  });
  expect(await claimMessages(place.db, room.id, { fence, sent, afterOrder: 3, limit: 10 })).toMatchObject({
    duplicates: ["$second"],
  });
  expect(await releaseRoomLease(place.db, room.id, fence, 3, sent)).toMatchObject({
    duplicates: ["$second"],
  });

  expect(
    await place.sql("select status, open, event_id from messages where room_id = ? order by order_number", [
      room.id,
    ]),
  ).toEqual([
    { status: "sent", open: false, event_id: "$seen-1" },
    { status: "sent", open: false, event_id: "$seen-2" },
    { status: "sent", open: true, event_id: "$first" },
  ]);
});

test("marking messages as sent and settling them by their events at the same time do not deadlock", async () => {
  const room = await place.room("group:both", ["ada"]);
  for (let round = 0; round < 10; round++) {
    const texts = Array.from({ length: 50 }, (_, index) => `text ${index}`);
    const ids = (await place.accept(room, "ada", ...texts)).map(({ id }) => id);
    const fence = await takeFence(room);
    const claim = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 100 });
    const sent = ids.map((id) => ({ id, eventId: `$${id}` }));
    const { sql, bindings } = settleMessages(
      ids.map((messageId) => ({ roomId: room.id, messageId, eventId: `$${messageId}` })),
    );
    const [ended] = await Promise.all([
      endBatch(place.db, room.id, fence, { sent: sent.toReversed(), untried: [] }),
      rowsOf(place.db, sql, bindings),
    ]);
    expect(ended).toEqual({ duplicates: [] });
    await releaseRoomLease(place.db, room.id, fence, claim?.lastOrder ?? 0);
  }
  expect(
    await place.sql("select 1 as one from messages where room_id = ? and (open or status <> 'sent')", [
      room.id,
    ]),
  ).toEqual([]);
});

test("the same client id posted twenty times at once is one message", async () => {
  const room = await place.room("group:idempotent", ["ada"]);
  const post = () =>
    acceptMessages(place.db, [
      {
        tenantId: place.tenantId,
        user: "ada",
        room,
        content: { kind: "text", text: "once" },
        clientId: "c-1",
        requestHash: "00",
        stamp: null,
      },
    ]);
  const outcomes = (await Promise.all(Array.from({ length: 20 }, post))).flat().map(({ outcome }) => outcome);
  expect(outcomes.filter((outcome) => outcome === "accepted")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === "replayed")).toHaveLength(19);
  expect(await place.sql("select 1 as one from messages where room_id = ?", [room.id])).toHaveLength(1);
});

test("claiming more messages returns whether other work waits for the room", async () => {
  const room = await place.room("group:wanted", ["ada"]);
  await place.sql("update rooms set next_attempt_at = null, members_next_attempt_at = null where id = ?", [
    room.id,
  ]);
  await place.accept(room, "ada", "first", "second");
  const fence = await takeFence(room);
  const calm = await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 1 });
  await place.sql("update rooms set members_next_attempt_at = now() where id = ?", [room.id]);
  const wanted = await claimMessages(place.db, room.id, { fence, afterOrder: 1, limit: 1 });
  expect([calm?.isWanted, wanted?.isWanted]).toEqual([false, true]);
});

test("a room that is locked for long is left to the sweeper", async () => {
  const room = await place.room("group:locked", ["ada"]);
  await place.accept(room, "ada", "first");
  const asked = { tenantId: place.tenantId, roomId: room.id, fence: newFence(), claim: 1 };
  await place.db.transaction(async (trx) => {
    await trx.raw("select 1 from room_outbox where room_id = ? for update", [room.id]);
    expect(await acquireRoomLease(place.db, asked)).toBeNull();
  });
  expect((await acquireRoomLease(place.db, asked))?.claimed).toHaveLength(1);
});
