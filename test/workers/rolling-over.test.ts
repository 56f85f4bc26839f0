import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { numberRoom } from "../../shared/db/messages/number-older.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { repairCounters } from "../../shared/db/rooms/repair-counters.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { publishSent } from "../../shared/timeline/publish-sent.ts";
import { saveChanges } from "../../workers/inbound/save-changes.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { startSweeper } from "../../workers/runtime/sweeper.ts";
import { removeMember } from "../../api/mutations/remove-member.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { waitUntil } from "../support/stack-wait.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";
import { acceptAsOld, observeAsOld, type OldEvent } from "../support/version-0-2.ts";

/** Processes of version 0.2 run beside those of this version while an installation is upgraded. */
type Version = "old" | "new";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver & { fence: string };
let room: Room;
let adaId: string;
let count = 0;
/** What stands in the room on Matrix, oldest first. */
let events: OldEvent[];

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  events = [];
  room = await place.room(`group:rolling-${++count}`, ["ada"]);
  await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  const [ada] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  adaId = ada?.matrix_user_id ?? "";
});
afterAll(() => place.close());

const key = () => ({ tenantId: place.tenantId, roomId: room.id });

async function accept(version: Version, texts: readonly string[]): Promise<void> {
  if (version === "new") await place.accept(room, "ada", ...texts);
  else await acceptAsOld(place.db, { ...key(), kind: room.kind, slug: room.slug, user: "ada" }, texts);
}

/** Sends what is queued, as a drain does, and marks it sent. One of this version numbers it first. */
async function drain(version: Version): Promise<void> {
  if (version === "new") await numberRoom(place.db, room.id);
  const sent = await place.sql<{ id: string; text: string; event_id: string; order_number: number }>(
    `update messages m set status = 'sent', event_id = '$' || m.id, sent_at = now()
       from (select id from messages where room_id = ? and open and status = 'queued' order by order_number limit 3) q
      where m.id = q.id returning m.id, m.content ->> 'text' as text, m.event_id, m.order_number`,
    [room.id],
  );
  for (const row of sent.toSorted((one, other) => one.order_number - other.order_number))
    events.push({ eventId: row.event_id, sender: adaId, text: row.text, messageId: row.id });
}

/** Reads the events from one place to another. Returns those that are taken for duplicates. */
async function observe(version: Version, from: number, to: number): Promise<void> {
  const read = events.slice(from, to);
  if (read.length === 0) return;
  if (version === "old") {
    expect(await observeAsOld(place.db, room.id, read)).toEqual([]);
    return;
  }
  const timeline = {
    limited: false,
    events: read.map(({ eventId, sender, text, messageId }) => ({
      event_id: eventId,
      type: "m.room.message",
      sender,
      origin_server_ts: 1,
      content: { msgtype: "m.text", body: text, ...(messageId === null ? {} : { [MARKER]: messageId }) },
    })),
  };
  const run = {
    observer,
    fence: observer.fence,
    signal: new AbortController().signal,
    known: new Map<string, string>(),
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  const changes = { next_batch: `s${to}`, rooms: { join: { [`!${room.id}`]: { timeline } }, leave: {} } };
  await saveChanges(place.context(homeserver), run, `s${from}`, changes);
}

type Entry = { number: number; text: string; id: string };
function entries(): Promise<Entry[]> {
  return place.sql<Entry>(
    "select number, content ->> 'text' as text, entry_id as id from timeline where room_id = ? order by number",
    [room.id],
  );
}

const ROUNDS = 120;

test.each<[string, Version[], Version[]]>([
  ["an old api beside a new observer", ["old"], ["new"]],
  ["a new api beside an old observer", ["new"], ["old"]],
  ["old and new processes of every kind", ["old", "new"], ["new", "old"]],
])("%s lose, double and reorder nothing", async (_, apis, observers) => {
  let seed = 7;
  const chance = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const pick = (versions: Version[]): Version => versions[chance(versions.length)] ?? "new";
  let position = 0;
  const foreign: string[] = [];
  const own: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const texts = Array.from({ length: 1 + chance(3) }, (_, index) => `own ${round} ${index}`);
    own.push(...texts);
    if (chance(3) === 0) {
      foreign.push(`foreign ${round}`);
      events.push({
        eventId: `$foreign-${round}`,
        sender: "@unknown:test",
        text: `foreign ${round}`,
        messageId: null,
      });
    }
    const to = events.length;
    // Sometimes a part is read twice: a process died before it had saved its position.
    const from = Math.max(0, position - (chance(5) === 0 ? 2 : 0));
    await Promise.all([accept(pick(apis), texts), observe(pick(observers), from, to)]);
    position = to;
    await drain(pick([...apis, ...observers]));
  }
  while (
    (await place.sql("select 1 from messages where room_id = ? and open and status = 'queued'", [room.id]))
      .length > 0
  )
    await drain("new");
  await observe(pick(observers), position, events.length);

  const found = await entries();
  expect(found.map(({ number }) => number)).toEqual(found.map((_, index) => index + 1));
  expect(found.map(({ text }) => text).filter((text) => text.startsWith("own"))).toEqual(own);
  expect(found.map(({ text }) => text).filter((text) => text.startsWith("foreign"))).toEqual(foreign);
  expect(homeserver.calls.filter(({ path }) => path.includes("/redact/"))).toEqual([]);
  const rows = await place.sql<{ id: string; status: string; open: boolean; timeline_number: number }>(
    "select id, status, open, timeline_number from messages where room_id = ? order by order_number",
    [room.id],
  );
  const numbers = new Map(found.map(({ id, number }) => [id, number]));
  expect(rows).toEqual(
    rows.map(({ id }) => ({ id, status: "sent", open: false, timeline_number: numbers.get(id) })),
  );
  // What old processes closed is counted within a minute, and published.
  await repairCounters(place.db, 100);
  await publishSent(place, [room.id]);
  const [mirror] = await place.sql(
    `select o.accepted_count - m.closed_count as waiting, m.sent_number = t.last_number as is_all_sent
       from room_outbox o join room_mirrors m using (room_id) join room_timeline t using (room_id) where room_id = ?`,
    [room.id],
  );
  expect(mirror).toEqual({ waiting: 0, is_all_sent: true });
});

test("a drain numbers what an old api accepted before it sends it, also while it drains", async () => {
  await place.accept(room, "ada", "one");
  await accept("old", ["two"]);
  homeserver.meanwhile = async (path) => {
    homeserver.meanwhile = () => Promise.resolve();
    if (path.includes("/")) await accept("old", ["three"]);
  };
  await handleOutboundMessage(place.context(homeserver), key());
  await handleOutboundMessage(place.context(homeserver), key());
  expect(homeserver.texts).toEqual(["one", "two", "three"]);
  expect((await entries()).map(({ text }) => text)).toEqual(["one", "two", "three"]);
});

test("the sweeper numbers idle rooms and publishes them", async () => {
  await accept("old", ["one", "two", "three"]);
  const sweeper = startSweeper(place.context(), place.queues);
  try {
    await waitUntil("all are numbered", async () => (await entries()).length === 3);
  } finally {
    await sweeper.stop();
  }
  expect((await entries()).map(({ text }) => text)).toEqual(["one", "two", "three"]);
  const marks = await place.sql("select 1 from unpublished_rooms where room_id = ?", [room.id]);
  expect(marks).toHaveLength(1);
});

test("a message of an old api whose sender is removed stands in the timeline, and then its failure", async () => {
  await accept("old", ["one"]);
  await removeMember(place.db, place.tenantId, { kind: room.kind, slug: room.slug }, "ada");
  const types = await place.sql<{ type: string }>(
    "select type from timeline where room_id = ? order by number",
    [room.id],
  );
  expect(types.map(({ type }) => type)).toEqual(["message.created", "message.failed", "member.left"]);
});

test("counters that old processes left wrong are set right, and right ones stay", async () => {
  const quiet = room;
  await place.accept(quiet, "ada", "one", "two");
  await place.sql("update messages set status = 'sent', open = false where room_id = ?", [quiet.id]);
  const busy = await place.room(`group:rolling-busy-${count}`, ["ada"]);
  await place.accept(busy, "ada", "one", "two");
  const negative = await place.room(`group:rolling-negative-${count}`, ["ada"]);
  await place.accept(negative, "ada", "one", "two");
  await place.sql("update room_mirrors set closed_count = 5 where room_id = ?", [negative.id]);
  const repaired = await repairCounters(place.db, 100);
  expect(new Set(repaired)).toEqual(new Set([quiet.id, negative.id]));
  const rows = await place.sql<{ room_id: string; waiting: number }>(
    "select room_id, accepted_count - closed_count as waiting from room_outbox join room_mirrors using (room_id) where room_id = any(?)",
    [[quiet.id, busy.id, negative.id]],
  );
  expect(Object.fromEntries(rows.map(({ room_id, waiting }) => [room_id, waiting]))).toEqual({
    [quiet.id]: 0,
    [busy.id]: 2,
    [negative.id]: 2,
  });
  expect(await repairCounters(place.db, 100)).toEqual([]);
});
