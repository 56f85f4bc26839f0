import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { readBacklog } from "../../shared/db/backlog.ts";
import { requeueMessages } from "../../shared/db/messages/missing-messages.ts";
import { endRereading } from "../../shared/db/observers/room-gaps.ts";
import { acquireRoomLease, releaseRoomLease } from "../../shared/db/rooms/room-lease.ts";
import { newFence } from "../../shared/platform/ids.ts";
import type { MatrixCall } from "../../workers/matrix/http/client.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { findMissing, unmetMessages } from "../../workers/outbound/find-missing.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { createMetrics } from "../../shared/platform/metrics.ts";
import { registerBacklogGauges } from "../../workers/runtime/backlog-gauges.ts";
import { diagnoseRoom } from "../../workers/reconcile/diagnose-room.ts";
import { findRoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { handleMaintenance } from "../../workers/jobs/maintenance.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let ids: string[];
let eventIds: string[];
/** Whether the room's first events are there: nobody has purged them. */
let isWhole: boolean;
let count = 0;
/** What a page of the room's history holds. */
const page: { chunk: unknown[] } = { chunk: [] };
const serving = new WeakSet<FakeHomeserver>();
const TEXTS = ["one", "two", "three"];
const creation = {
  event_id: "$creation",
  type: "m.room.create",
  state_key: "",
  sender: "@observer:test",
  origin_server_ts: 1,
  content: {},
};
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:missing-${++count}`, ["ada"]);
  isWhole = true;
  ids = (await place.accept(room, "ada", ...TEXTS)).map(({ id }) => id);
  await drain();
  const sent = await place.sql<{ event_id: string }>(
    "select event_id from messages where room_id = ? order by order_number",
    [room.id],
  );
  eventIds = sent.map(({ event_id }) => event_id);
  place.wakes.length = 0;
});
afterAll(() => place.close());

const key = () => ({ tenantId: place.tenantId, roomId: room.id });

function drain() {
  return handleOutboundMessage(place.context(homeserver), key());
}

/** The whole room is read, and shows only the messages at these positions. */
async function reread(...shown: number[]) {
  await place.sql(
    "update room_timeline set gap_from = '', gap_to = 's9', gap_next_attempt_at = now() where room_id = ?",
    [room.id],
  );
  return readGap(...shown);
}

async function readGap(...shown: number[]) {
  const [ada] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  const chunk = shown.map((index) => ({
    event_id: eventIds[index],
    type: "m.room.message",
    sender: ada?.matrix_user_id,
    origin_server_ts: 1,
    content: { msgtype: "m.text", body: TEXTS[index], [MARKER]: ids[index] },
  }));
  page.chunk = [...(isWhole ? [creation] : []), ...chunk];
  // After what a test has prepared.
  if (!serving.has(homeserver)) homeserver.answer(/\/messages$/, page, { isKept: true });
  serving.add(homeserver);
  return handleRoomSync(place.context(homeserver), key());
}

function forget(...indexes: number[]): void {
  for (const index of indexes) homeserver.refuse(new RegExp(`/event/.*${ids[index] ?? "none"}`), "missing");
}

/** The homeserver has none of the events. */
function forgetAll(): void {
  const { as } = homeserver;
  Object.assign(homeserver, {
    as: async (matrixUserId: string) => {
      const request = await as(matrixUserId);
      return (call: MatrixCall) =>
        call.path.includes("/event/")
          ? Promise.reject(new MatrixFailure("missing", { errcode: "M_NOT_FOUND", httpStatus: 404 }))
          : request(call);
    },
  });
}

/** Types of the entries after the messages. */
async function entryTypes(): Promise<string[]> {
  const rows = await place.sql<{ type: string }>(
    "select type from timeline where room_id = ? and type <> 'message.created' order by number",
    [room.id],
  );
  return rows.map(({ type }) => type);
}

async function waiting(): Promise<number | undefined> {
  const [row] = await place.sql<{ waiting: number }>(
    "select accepted_count - closed_count as waiting from room_outbox join room_mirrors using (room_id) where room_id = ?",
    [room.id],
  );
  return row?.waiting;
}

async function statuses(): Promise<string[]> {
  const rows = await place.sql<{ status: string; open: boolean }>(
    "select status, open from messages where room_id = ? order by order_number",
    [room.id],
  );
  return rows.map(({ status, open }) => `${status}${open ? "" : " and closed"}`);
}

async function gapIsOpen(): Promise<boolean> {
  const rows = await place.sql("select 1 from room_timeline where room_id = ? and gap_from is not null", [
    room.id,
  ]);
  return rows.length > 0;
}

test("messages that the homeserver lost are sent again under their old ids, in their old order; the others are not", async () => {
  await place.accept(room, "ada", "four");
  forget(1, 2);
  await reread(0);
  expect(await statuses()).toEqual(["sent and closed", "queued", "queued", "queued"]);
  expect(await gapIsOpen()).toBe(false);
  expect(place.wakes.map(({ name }) => name)).toContain("outbound-message");
  homeserver.calls.length = 0;
  await drain();
  const sent = homeserver.calls.filter(({ path }) => path.includes("/send/"));
  expect(sent.map(({ body }) => body["body"])).toEqual(["two", "three", "four"]);
  expect(sent.slice(0, 2).every(({ path }, index) => path.endsWith(ids[index + 1] ?? ""))).toBe(true);
});

test("a message whose event is on Matrix, though reading the room does not show it, is not sent again", async () => {
  await reread();
  expect(await statuses()).toEqual(["sent", "sent", "sent"]);
  expect(await gapIsOpen()).toBe(false);
});

test("a message redacted on Matrix before the observer read it is sent, and then deleted", async () => {
  homeserver.answer(/\/event\//, { unsigned: { redacted_because: { type: "m.room.redaction" } } });
  await reread();
  expect(await statuses()).toEqual(["sent and closed", "sent", "sent"]);
  const [row] = await place.sql(
    "select content ->> 'text' as text, redacted_at is null as is_kept from timeline where entry_id = ?",
    [ids[0]],
  );
  expect(row).toEqual({ text: "", is_kept: false });
  expect(await entryTypes()).toEqual(["message.deleted"]);
});

test("seen messages that the homeserver lost are sent again too, and clients learn of it; what it met is not", async () => {
  await reread(0, 1, 2);
  expect(await statuses()).toEqual(["sent and closed", "sent and closed", "sent and closed"]);
  expect(await waiting()).toBe(0);
  forget(1, 2);
  await reread(0);
  expect(await statuses()).toEqual(["sent and closed", "queued", "queued"]);
  expect(await entryTypes()).toEqual(["message.requeued", "message.requeued"]);
  expect(await waiting()).toBe(2);
  homeserver.calls.length = 0;
  await drain();
  expect(homeserver.attempts).toEqual(["two", "three"]);
  await reread(0, 1, 2);
  expect(await statuses()).toEqual(["sent and closed", "sent and closed", "sent and closed"]);
  expect(await waiting()).toBe(0);
});

test("seen messages of a room whose old events were purged on purpose are not sent again", async () => {
  await reread(0, 1, 2);
  isWhole = false;
  homeserver = new FakeHomeserver();
  forget(0, 1);
  await reread(2);
  expect(await statuses()).toEqual(["sent and closed", "sent and closed", "sent and closed"]);
});

test("seen messages of a former Matrix room are not sent to the room that took its place", async () => {
  await reread(0, 1, 2);
  homeserver = new FakeHomeserver();
  forget(0, 1, 2);
  await place.sql("update messages set sent_at = to_timestamp(0) where room_id = ?", [room.id]);
  await reread();
  expect(await statuses()).toEqual(["sent and closed", "sent and closed", "sent and closed"]);
});

test("more lost messages than a thousand are sent again by an operator's command alone, and an alarm stands until then", async () => {
  const more = await place.accept(
    room,
    "ada",
    ...Array.from({ length: 1_000 }, (_, index) => `more ${index}`),
  );
  await place.sql(
    `update messages set status = 'sent', open = false, event_id = '$' || id, sent_at = now(), timeline_number = order_number
      where id = any(?)`,
    [more.map(({ id }) => id)],
  );
  forgetAll();
  await reread();
  expect((await statuses()).filter((status) => status === "queued")).toEqual([]);
  expect(await gapIsOpen()).toBe(false);
  expect(await readBacklog(place.db, "roomsToResend")).toBe(1);
  const { missing } = await findMissing(
    await homeserver.as("@observer:test"),
    "!x",
    unmetMessages(place.db, room.id, {
      rereading: null,
      sentSince: new Date(0),
      acceptedSince: null,
      acceptedUntil: null,
    }),
    { limit: Infinity },
  );
  expect(missing).toHaveLength(1_003);
  const fence = newFence();
  await acquireRoomLease(place.db, { ...key(), fence, claim: 0 });
  await requeueMessages(place.db, room.id, fence, missing);
  await releaseRoomLease(place.db, room.id, fence, null);
  const rows = await place.sql<{ order_number: number }>(
    `select m.order_number from timeline e join messages m on m.id = e.relates_to
      where e.room_id = ? and e.type = 'message.requeued' order by e.number`,
    [room.id],
  );
  expect(rows.map(({ order_number }) => order_number)).toEqual(
    Array.from({ length: 1_003 }, (_, index) => index + 1),
  );
  await endRereading(place.db, room.id);
  expect(await readBacklog(place.db, "roomsToResend")).toBe(0);
});

test("the filling of a gap that did not start at the beginning requeues nothing", async () => {
  forget(0, 1, 2);
  await place.sql(
    "update room_timeline set gap_from = 's1', gap_to = 's9', gap_next_attempt_at = now() where room_id = ?",
    [room.id],
  );
  await readGap();
  expect(await statuses()).toEqual(["sent", "sent", "sent"]);
});

test("reading a room again in many pages looks for missing messages at its end", async () => {
  forget(2);
  homeserver.answer(/\/messages$/, {
    chunk: [
      creation,
      { event_id: "$a", type: "m.room.name", sender: "@x:test", origin_server_ts: 1, content: {} },
    ],
    end: "p1",
  });
  await reread(0, 1);
  expect(await statuses()).toEqual(["sent and closed", "sent and closed", "queued"]);
  const rows = await place.sql("select is_rereading from room_timeline where room_id = ?", [room.id]);
  expect(rows).toEqual([{ is_rereading: false }]);
});

test("while another process holds the room's lease nothing is queued again, and the gap stays open", async () => {
  forget(0, 1, 2);
  await place.sql(
    "update room_outbox set fence = gen_random_uuid(), lease_until = now() + interval '1 minute' where room_id = ?",
    [room.id],
  );
  expect((await reread()).retryInMs).toBeGreaterThan(0);
  expect(await statuses()).toEqual(["sent", "sent", "sent"]);
  expect(await gapIsOpen()).toBe(true);
  await place.sql("update room_outbox set fence = null, lease_until = null where room_id = ?", [room.id]);
  forget(0, 1, 2);
  await readGap();
  expect(await statuses()).toEqual(["queued", "queued", "queued"]);
  expect(await gapIsOpen()).toBe(false);
});

test("a room that the homeserver asked to delay keeps its time when its missing messages are queued again", async () => {
  forget(0);
  await place.sql("update room_outbox set next_attempt_at = now() + interval '1 minute' where room_id = ?", [
    room.id,
  ]);
  await reread(1, 2);
  const rows = await place.sql(
    "select next_attempt_at > now() + interval '50 seconds' as waits from room_outbox where room_id = ?",
    [room.id],
  );
  expect(rows).toEqual([{ waits: true }]);
});

test("a missing message is found also when no position went backwards, since it was never read", async () => {
  await place.sql("update sync_positions set since = 's9', last_success_at = now()");
  await place.sql("update messages set sent_at = now() - interval '11 minutes' where room_id = ?", [room.id]);
  await handleMaintenance(place.context(homeserver), { task: "reconcile" });
  expect(place.wakes).toContainEqual({ name: "room-sync", payload: key() });
  forget(0, 1, 2);
  await readGap();
  expect(await statuses()).toEqual(["queued", "queued", "queued"]);
});

test("operators see sent messages that were never read, in the metrics and in a room's diagnosis", async () => {
  await place.sql("update messages set sent_at = now() - interval '1 minute' where room_id = ?", [room.id]);
  const registry = createMetrics();
  registerBacklogGauges(registry, place.db);
  const [row] = await place.sql<{ count: number }>(
    "select count(*) as count from messages where open and status = 'sent' and sent_at < now() - interval '30 seconds'",
  );
  expect(row?.count).toBeGreaterThanOrEqual(3);
  expect(await registry.getSingleMetricAsString("omc_messages_unseen")).toContain(
    `omc_messages_unseen ${row?.count}`,
  );
  const facts = await findRoomSnapshot(place.db, place.tenantId, room.id);
  homeserver.answer(/joined_members$/, { joined: {} });
  homeserver.answer(/members$/, { chunk: [] });
  if (!facts) throw new Error("no room");
  const differences = await diagnoseRoom(place.db, homeserver, facts);
  expect(differences).toContainEqual({ what: "sent but not seen", wanted: 0, found: 3 });
});
