import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { markDead } from "../../shared/db/messages/dead/dead-messages.ts";
import { claimMessages, endBatch, makeOutboxDue, rescheduleOutbox } from "../../shared/db/messages/outbox.ts";
import { releaseRoomLease, renewRoomLease } from "../../shared/db/rooms/room-lease.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { LeaseLost, withRoomLease } from "../../workers/runtime/room-lease.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { until } from "../support/wait.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

function addressOf(room: Room): { tenantId: string; roomId: string } {
  return { tenantId: place.tenantId, roomId: room.id };
}

/** The lease of a process that ended without releasing it. */
async function leaseTo(room: Room, fence: string, forMs: number): Promise<void> {
  await place.sql(
    "update room_outbox set fence = ?, lease_until = now() + ? * interval '1 millisecond' where room_id = ?",
    [fence, forMs, room.id],
  );
}

async function outbox(
  room: Room,
): Promise<{ fence: string | null; next_attempt_at: Date | null; attempts: number }> {
  const [row] = await place.sql<{ fence: string | null; next_attempt_at: Date | null; attempts: number }>(
    "select fence, next_attempt_at, attempts from room_outbox where room_id = ?",
    [room.id],
  );
  if (!row) throw new Error("no outbox");
  return row;
}

test("of two workers that want one room's lease, one works, and the other does nothing", async () => {
  const room = await place.room("group:two");
  let isWorking = 0;
  let mostAtOnce = 0;
  const work = async () => {
    mostAtOnce = Math.max(mostAtOnce, ++isWorking);
    await new Promise((resolve) => setImmediate(resolve));
    isWorking--;
    return "worked";
  };

  const results = await Promise.all(
    Array.from({ length: 8 }, () => withRoomLease(place.context(), addressOf(room), work)),
  );

  expect(results).toContain("worked");
  expect(mostAtOnce).toBe(1);
  expect((await outbox(room)).fence).toBeNull();
});

test("another worker acquires a dead worker's room when its lease has ended, not before", async () => {
  const room = await place.room("group:orphan");
  await leaseTo(room, newFence(), 400);
  const work = () => Promise.resolve("worked");

  expect(await withRoomLease(place.context(), addressOf(room), work)).toBeNull();
  await until(
    async () => (await withRoomLease(place.context(), addressOf(room), work)) === "worked",
    "another worker acquires it",
  );
});

test("a room's lease is released when the work fails", async () => {
  const room = await place.room("group:failing");
  const fail = () => Promise.reject(new Error("oops"));
  await expect(withRoomLease(place.context(), addressOf(room), fail)).rejects.toThrow("oops");
  expect(await withRoomLease(place.context(), addressOf(room), () => Promise.resolve(1))).toBe(1);
});

test("releasing a room's lease wakes what is due in the room, and nothing else", async () => {
  const room = await place.room("group:due", ["ada"]);
  await place.sql("update rooms set next_attempt_at = now() + interval '1 hour' where id = ?", [room.id]);
  await place.accept(room, "ada", "hello");
  place.wakes.length = 0;
  await withRoomLease(place.context(), addressOf(room), () => Promise.resolve());
  expect(place.wakes).toEqual([{ name: "outbound-message", payload: addressOf(room) }]);
});

test("a worker that was frozen past its lease can neither go on nor mark anything", async () => {
  const room = await place.room("group:frozen", ["ada"]);
  const [message] = await place.accept(room, "ada", "hello");
  const id = message?.id ?? "";
  const [frozen, successor] = [newFence(), newFence()];
  await leaseTo(room, successor, 60_000);
  const before = await outbox(room);

  expect(await renewRoomLease(place.db, room.id, frozen)).toBe(false);
  expect(await claimMessages(place.db, room.id, { fence: frozen, afterOrder: 0, limit: 10 })).toBeNull();
  const sent = [{ id, eventId: "$late" }];
  expect(await endBatch(place.db, room.id, frozen, { sent, untried: [] })).toBeNull();
  expect(await markDead(place.db, room.id, frozen, { id, code: "expired" })).toBeNull();
  await releaseRoomLease(place.db, room.id, frozen, 1);
  await rescheduleOutbox(place.db, room.id, frozen, { delayMs: 60_000, isAttempt: true, failingMs: 0 });
  await makeOutboxDue(place.db, room.id, frozen);

  expect(await place.sql("select status, open, event_id from messages where id = ?", [id])).toEqual([
    { status: "queued", open: true, event_id: null },
  ]);
  expect(await outbox(room)).toEqual(before);
});

test("a lease that has ended cannot be renewed, even when no other worker acquired it", async () => {
  const room = await place.room("group:lapsed", ["ada"]);
  const fence = newFence();
  await leaseTo(room, fence, -1);
  expect(await renewRoomLease(place.db, room.id, fence)).toBe(false);
  expect(await claimMessages(place.db, room.id, { fence, afterOrder: 0, limit: 10 })).toBeNull();
});

test("a worker that lost its lease learns it before its next Matrix call, and does not release the new holder's lease", async () => {
  const room = await place.room("group:taken");
  const successor = newFence();
  const work = withRoomLease(place.context(), addressOf(room), async (lease) => {
    lease.check();
    await leaseTo(room, successor, 60_000);
    await until(() => throws(lease.check), "the check throws");
    lease.check();
  });

  await expect(work).rejects.toBeInstanceOf(LeaseLost);
  expect((await outbox(room)).fence).toBe(successor);
});

test("a lease is renewed while the work goes on", async () => {
  const room = await place.room("group:long");
  const leaseEnd = () =>
    place.sql<{ lease_until: Date }>("select lease_until from room_outbox where room_id = ?", [room.id]);
  await withRoomLease(place.context(), addressOf(room), async (lease) => {
    const [first] = await leaseEnd();
    await until(
      async () => ((await leaseEnd())[0]?.lease_until ?? 0) > (first?.lease_until ?? 0),
      "it is renewed",
    );
    lease.check();
  });
});

function throws(work: () => void): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}
