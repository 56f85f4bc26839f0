import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { handleProvisioning } from "../../workers/jobs/provisioning.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import { ResponseTooLarge } from "../../workers/matrix/http/bounded-fetch.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { noteLeftRooms } from "../../workers/inbound/observers/note-left-rooms.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { repairRoom } from "../../workers/reconcile/diagnose-room.ts";
import { runObserver } from "../../workers/inbound/observers/observer-loop.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver & { fence: string };
let room: Room;
let count = 0;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  room = await place.room(`group:out-${++count}`, ["ada"], "owner");
  await place.sql(
    "update rooms set matrix_room_id = ?, status = 'ready', applied_version = desired_version where id = ?",
    [`!${room.id}`, room.id],
  );
  await place.sql("update memberships set applied = 'in' where room_id = ?", [room.id]);
});
afterAll(() => place.close());

/** The observer's loop runs from a position until a turn has succeeded. */
async function read(since: string | null): Promise<void> {
  const stop = new AbortController();
  const run = {
    observer: { ...observer, since },
    fence: observer.fence,
    signal: stop.signal,
    known: new Map<string, string>(),
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  await runObserver(place.context(homeserver), run, (isSuccess) => {
    if (isSuccess) stop.abort();
  });
}

async function state() {
  const [row] = await place.sql(
    `select r.observer_left_at is not null as "isOut", r.next_attempt_at <= now() as "isDue", t.gap_from, t.gap_to
       from rooms r join room_timeline t on t.room_id = r.id where r.id = ?`,
    [room.id],
  );
  return row;
}

const key = () => ({ tenantId: place.tenantId, roomId: room.id });
const isOutOf = (gap: { from: string; to: string }) => ({
  isOut: true,
  isDue: true,
  gap_from: gap.from,
  gap_to: gap.to,
});

/** `/sync` shows that the observer left between two positions. */
async function leave(): Promise<void> {
  homeserver.answer(/\/sync$/, { next_batch: "s2", rooms: { leave: { [`!${room.id}`]: {} } } });
  await read("s1");
  expect(await state()).toEqual(isOutOf({ from: "s1", to: "s2" }));
}

async function comeBack(position: string): Promise<void> {
  homeserver.answer(/\/sync$/, { next_batch: position });
  await handleProvisioning(place.context(homeserver), {
    tenantId: place.tenantId,
    subject: "room",
    id: room.id,
  });
  expect(await state()).toMatchObject({ isOut: false });
}

test("a room is not read while the observer is out of it: the end of its gap is not known", async () => {
  await leave();
  await handleRoomSync(place.context(homeserver), key());
  expect(homeserver.calls.filter(({ path }) => path.endsWith("/messages"))).toEqual([]);
  expect(await state()).toEqual(isOutOf({ from: "s1", to: "s2" }));
});

test("the gap reaches to where the observer came back, also when other rooms were read meanwhile", async () => {
  await leave();
  homeserver.answer(/\/sync$/, { next_batch: "s90" });
  await read("s2");
  await comeBack("s100");
  expect(await state()).toMatchObject({ gap_from: "s1", gap_to: "s100" });
});

test("a gap that /sync has extended is not shortened", async () => {
  await leave();
  await place.sql("update room_timeline set gap_to = 's101_9' where room_id = ?", [room.id]);
  await comeBack("s99_9");
  expect(await state()).toMatchObject({ gap_from: "s1", gap_to: "s101_9" });
});

test("a room without a recorded gap is read from its beginning when the observer is back", async () => {
  await place.sql("update rooms set observer_left_at = now(), next_attempt_at = now() where id = ?", [
    room.id,
  ]);
  await comeBack("s5");
  expect(await state()).toMatchObject({ gap_from: "", gap_to: "s5" });
});

test("an observer that was removed before reading started again is recorded as out", async () => {
  homeserver.answer(/\/sync$/, { next_batch: "n1" });
  homeserver.answer(/\/joined_rooms$/, { joined_rooms: ["!another"] });
  await read(null);
  expect(await state()).toEqual(isOutOf({ from: "", to: "n1" }));
});

test("an observer that was removed within a response that is too large is recorded as out", async () => {
  const cause = new ResponseTooLarge("too large");
  homeserver.fail(
    /\/sync$/,
    new MatrixFailure("transient", { errcode: "no answer", httpStatus: null, cause }),
  );
  homeserver.answer(/\/sync$/, { next_batch: "s8" });
  homeserver.answer(/\/joined_rooms$/, { joined_rooms: [] });
  homeserver.answer(/\/sync$/, { next_batch: "s9" }, { isKept: true });
  await read("s1");
  expect(await state()).toEqual(isOutOf({ from: "s1", to: "s8" }));
});

const refusal = (errcode: string, httpStatus = 403) =>
  new MatrixFailure(errcode === "M_FORBIDDEN" ? "forbidden" : "permanent", { errcode, httpStatus });

test("a member who may not invite any more is passed over: the next one invites the observer", async () => {
  const cleo = await place.userId("cleo");
  await place.sql(
    "insert into memberships (room_id, user_id, tenant_id, role, applied) values (?, ?, ?, 'moderator', 'in')",
    [room.id, cleo, place.tenantId],
  );
  await leave();
  homeserver.fail(/\/join$/, refusal("M_FORBIDDEN"));
  homeserver.fail(/\/invite$/, refusal("M_USER_LOCKED"));
  await comeBack("s100");
  const inviters = homeserver.calls.filter(({ path }) => path.endsWith("/invite")).map(({ as }) => as);
  expect(new Set(inviters).size).toBe(2);
});

test("a repair does not end the record that the observer is out, and asks for its return", async () => {
  await leave();
  await place.sql("update rooms set next_attempt_at = null where id = ?", [room.id]);
  await repairRoom(place.db, room.id, []);
  expect(await state()).toMatchObject({ isOut: true, isDue: true });
});

test("rooms that the observer is not in are noted, though no response showed it leave", async () => {
  homeserver.answer(/\/joined_rooms$/, { joined_rooms: ["!another"] });
  const run = {
    observer: { ...observer, since: "s1" },
    fence: observer.fence,
    signal: new AbortController().signal,
    known: new Map<string, string>(),
    reading: { fromStream: false, isConfirmed: true, roomsComparedAtMs: null },
  };
  await noteLeftRooms(place.context(homeserver), run, 1_000);
  expect(await state()).toMatchObject({ isOut: true, isDue: true });
  // Not before 5 minutes have passed.
  await noteLeftRooms(place.context(homeserver), run, 2_000);
  expect(homeserver.calls.filter(({ path }) => path === "/joined_rooms")).toHaveLength(1);
});

test("a message that is refused because the observer is out waits until it is back, and is then sent", async () => {
  await place.accept(room, "ada", "hello");
  homeserver.fail(/\/send\//, refusal("M_FORBIDDEN"));
  homeserver.answer(/\/state\/m\.room\.member\//, { membership: "leave" });
  homeserver.answer(/\/sync$/, { next_batch: "s7" });
  await handleOutboundMessage(place.context(homeserver), key());
  expect(homeserver.texts).toEqual(["hello"]);
  expect(await state()).toMatchObject({ isOut: false, gap_to: "s7" });
});

const unknownDevice = () => new MatrixFailure("forbidden", { errcode: "M_UNKNOWN_DEVICE", httpStatus: 401 });

test("a device of the observer that is gone does not say that the observer is out", async () => {
  await place.accept(room, "ada", "hello");
  homeserver.fail(/\/send\//, refusal("M_FORBIDDEN"));
  homeserver.fail(/\/state\/m\.room\.member\//, unknownDevice());
  await handleOutboundMessage(place.context(homeserver), key());
  expect(await state()).toMatchObject({ isOut: false });
});

test.each([
  ["whose device is gone", unknownDevice],
  ["that is locked", () => new MatrixFailure("account", { errcode: "M_USER_LOCKED", httpStatus: 401 })],
])("a room is not replaced while an account %s may be in it", async (_, failure) => {
  await leave();
  homeserver.fail(/\/join$/, refusal("M_FORBIDDEN"));
  homeserver.fail(/\/invite$/, refusal("M_BAD_STATE"));
  homeserver.fail(/\/joined_members$/, failure());
  homeserver.fail(/\/joined_members$/, refusal("M_FORBIDDEN"));
  await handleProvisioning(place.context(homeserver), {
    tenantId: place.tenantId,
    subject: "room",
    id: room.id,
  });
  expect(homeserver.calls.map(({ path }) => path)).not.toContain("/createRoom");
  expect(await state()).toMatchObject({ isOut: true });
});

test("a room that is lost between two messages of a batch gets both in the new Matrix room, in their order", async () => {
  await place.sql("update users set applied_version = 1");
  await place.accept(room, "ada", "one", "two");
  homeserver.answer(/\/sync$/, { next_batch: "s7" });
  let sends = 0;
  homeserver.meanwhile = (path) => {
    if (path.includes("/send/") && ++sends === 1) {
      homeserver.fail(/\/send\//, refusal("M_FORBIDDEN"));
      homeserver.answer(/\/state\/m\.room\.member\//, { membership: "leave" });
      for (const call of [/\/join$/, /\/join$/, /\/joined_members$/, /\/joined_members$/])
        homeserver.fail(call, refusal("M_FORBIDDEN"));
    }
    return Promise.resolve();
  };
  await handleOutboundMessage(place.context(homeserver), key());
  await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
  await handleOutboundMessage(place.context(homeserver), key());
  const sentTo = homeserver.calls
    .filter(({ path }) => path.includes("/send/"))
    .map(({ path, body }) => [path.includes(encodeURIComponent(`!${room.id}`)), body["body"]]);
  expect(sentTo).toEqual([
    [true, "one"],
    [true, "two"],
    [false, "one"],
    [false, "two"],
  ]);
});
