import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
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
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:missing-${++count}`, ["ada"]);
  ids = (await place.accept(room, "ada", "one", "two", "three")).map(({ id }) => id);
  await drain();
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
    event_id: `$shown-${ids[index] ?? ""}`,
    type: "m.room.message",
    sender: ada?.matrix_user_id,
    origin_server_ts: 1,
    content: { msgtype: "m.text", body: "x", [MARKER]: ids[index] },
  }));
  homeserver.answer(/\/messages$/, { chunk });
  return handleRoomSync(place.context(homeserver), key());
}

function forget(...indexes: number[]): void {
  for (const index of indexes) homeserver.refuse(new RegExp(`/event/.*${ids[index] ?? "none"}`), "missing");
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

test("a message redacted on Matrix before the observer read it is dead, and its room's subscribers receive that", async () => {
  homeserver.answer(/\/event\//, { unsigned: { redacted_because: { type: "m.room.redaction" } } });
  await reread();
  expect(await statuses()).toEqual(["dead and closed", "sent", "sent"]);
  const rows = await place.sql("select error_code from messages where id = ?", [ids[0]]);
  expect(rows).toEqual([{ error_code: "redacted" }]);
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
    chunk: [{ event_id: "$a", type: "m.room.name", sender: "@x:test", origin_server_ts: 1, content: {} }],
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
