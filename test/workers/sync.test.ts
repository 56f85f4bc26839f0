import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import { ResponseTooLarge } from "../../workers/matrix/http/bounded-fetch.ts";
import { NOT_IN_TIME } from "../../workers/matrix/http/client.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import type { SyncResponse } from "../../workers/matrix/sync/fetch-changes.ts";
import { runObserver } from "../../workers/inbound/observers/observer-loop.ts";
import { ObserverLeaseLost } from "../../workers/inbound/observers/observer-run.ts";
import { saveChanges } from "../../workers/inbound/save-changes.ts";
import { restartReading } from "../../workers/inbound/save-gaps.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver;
let room: Room;
let count = 0;
let fence: string;
let known: Map<string, string>;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
  fence = taken.fence;
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  known = new Map();
  place.wakes.length = 0;
  await place.sql("update sync_positions set fence = ?, lease_until = now() + interval '1 hour'", [fence]);
  room = await place.room(`group:sync-${++count}`, ["ada"]);
  await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
  homeserver.answer(/\/joined_rooms$/, { joined_rooms: [`!${room.id}`] }, { isKept: true });
});
afterAll(() => place.close());

function event(given: Partial<MatrixEvent>): MatrixEvent {
  const id = `$event${++count}`;
  return {
    event_id: id,
    type: "m.room.message",
    sender: "@unknown:test",
    origin_server_ts: 1_000,
    content: {},
    ...given,
  };
}

function text(body: string, more: Partial<MatrixEvent> = {}): MatrixEvent {
  return event({ content: { msgtype: "m.text", body }, ...more });
}

function answer(next: string, events: MatrixEvent[], { limited = false } = {}): SyncResponse {
  return {
    next_batch: next,
    rooms: { join: { [`!${room.id}`]: { timeline: { events, limited } } }, leave: {} },
  };
}

function save(since: string, changes: SyncResponse, as = fence): Promise<void> {
  const run = {
    observer,
    fence: as,
    signal: new AbortController().signal,
    known,
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  return saveChanges(place.context(homeserver), run, since, changes);
}

async function entries(): Promise<unknown[]> {
  const rows = await place.sql<{ text: string | null }>(
    "select content ->> 'text' as text from timeline where room_id = ? order by number",
    [room.id],
  );
  return rows.map((row) => row.text);
}

async function since(): Promise<string | null | undefined> {
  const [row] = await place.sql<{ since: string | null }>("select since from sync_positions");
  return row?.since;
}

async function gap(): Promise<{ gap_from: string | null; gap_to: string | null } | undefined> {
  const [row] = await place.sql<{ gap_from: string | null; gap_to: string | null }>(
    "select gap_from, gap_to from room_timeline where room_id = ?",
    [room.id],
  );
  return row;
}

function fillGap() {
  return handleRoomSync(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

test("the events of a batch are appended, and the position is saved with them", async () => {
  await save("s1", answer("s2", [text("one"), text("two")]));
  expect(await entries()).toEqual(["one", "two"]);
  expect(await since()).toBe("s2");
});

test("a batch that is read twice is appended once", async () => {
  const changes = answer("s2", [text("one"), text("two")]);
  await save("s1", changes);
  await save("s1", changes);
  expect(await entries()).toEqual(["one", "two"]);
});

test("a process that lost the observer's lease saves neither events nor position", async () => {
  await save("s1", answer("before", []));
  await expect(save("s1", answer("s2", [text("late")]), newFence())).rejects.toBeInstanceOf(
    ObserverLeaseLost,
  );
  expect(await entries()).toEqual([]);
  expect(await since()).toBe("before");
});

test("a cut timeline becomes a gap; later events wait behind it, and all are appended in order", async () => {
  await save("s1", answer("s2", [text("seven")], { limited: true }));
  await save("s2", answer("s3", [text("eight")]));
  expect(await entries()).toEqual([]);
  expect(await gap()).toEqual({ gap_from: "s1", gap_to: "s3" });
  expect(place.wakes.map(({ name }) => name)).toContain("room-sync");

  homeserver.answer(/\/messages$/, { chunk: ["one", "two", "three"].map((body) => text(body)), end: "p1" });
  homeserver.answer(/\/messages$/, { chunk: ["seven", "eight"].map((body) => text(body)) });
  await fillGap();

  expect(await entries()).toEqual(["one", "two", "three", "seven", "eight"]);
  expect(await gap()).toEqual({ gap_from: null, gap_to: null });
  const asked = homeserver.calls.filter(({ path }) => path.endsWith("/messages"));
  expect(asked.map(({ query: { from, to, dir } }) => [from, to, dir])).toEqual([
    ["s1", "s3", "f"],
    ["p1", "s3", "f"],
  ]);
  await save("s3", answer("s4", [text("nine")]));
  expect(await entries()).toEqual(["one", "two", "three", "seven", "eight", "nine"]);
});

test("events that arrive while a page of the gap is fetched are not lost", async () => {
  await save("s1", answer("s2", [text("two")], { limited: true }));
  homeserver.answer(/\/messages$/, { chunk: [text("one"), text("two")] });
  homeserver.answer(/\/messages$/, { chunk: [text("three")] });
  let isFirst = true;
  homeserver.meanwhile = async (path) => {
    if (!isFirst || !path.endsWith("/messages")) return;
    isFirst = false;
    await save("s2", answer("s3", [text("three")]));
  };
  await fillGap();
  expect(await entries()).toEqual(["one", "two", "three"]);
  expect(await gap()).toEqual({ gap_from: null, gap_to: null });
});

test("after reading starts again, the gap begins at the room's beginning, and known events make no second entry", async () => {
  const known = text("known");
  await save("s1", answer("s2", [known]));
  const run = {
    observer,
    fence,
    signal: new AbortController().signal,
    known: new Map<string, string>(),
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  await restartReading(place.context(homeserver), run, { to: "n1", left: [] });
  homeserver.answer(/\/messages$/, { chunk: [known, text("missed")] }, { isKept: true });
  await fillGap();
  expect(await entries()).toEqual(["known", "missed"]);
  expect(homeserver.calls.find(({ path }) => path.endsWith("/messages"))?.query["from"]).toBeUndefined();
});

test("a gap stays while the homeserver fails, and is filled later", async () => {
  await save("s1", answer("s2", [], { limited: true }));
  homeserver.refuse(/\/messages$/, "transient");
  expect((await fillGap()).retryInMs).toBeGreaterThan(0);
  expect(await gap()).toEqual({ gap_from: "s1", gap_to: "s2" });
  homeserver.answer(/\/messages$/, { chunk: [text("one")] });
  await fillGap();
  expect(await entries()).toEqual(["one"]);
});

test("our message, numbered when it was accepted, is settled when its event is read; others' come after it", async () => {
  const [message] = await place.accept(room, "ada", "mine");
  const [ada] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  const echo = event({
    sender: ada?.matrix_user_id ?? "",
    content: { msgtype: "m.text", body: "mine", [MARKER]: message?.id },
  });
  await save("s1", answer("s2", [text("before"), echo, text("after")]));
  const rows = await place.sql("select status, open, timeline_number, event_id from messages where id = ?", [
    message?.id,
  ]);
  expect(rows).toEqual([{ status: "sent", open: false, timeline_number: 1, event_id: echo.event_id }]);
  expect(await entries()).toEqual(["mine", "before", "after"]);
  expect(place.sent).toContain(room.id);
  const [state] = await place.sql<{ unread: number }>(
    `select t.message_count - s.read_count as unread from memberships s join room_timeline t on t.room_id = s.room_id
      where s.room_id = ?`,
    [room.id],
  );
  expect(state?.unread).toBe(2);
});

test.each([
  ["one sync batch", false],
  ["one page of a gap", true],
])("of two events of a message in %s the first settles it and the second is redacted", async (_, isGap) => {
  const [message] = await place.accept(room, "ada", "mine");
  const [ada] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  const copy = () =>
    event({
      sender: ada?.matrix_user_id ?? "",
      content: { msgtype: "m.text", body: "mine", [MARKER]: message?.id },
    });
  const [first, second] = [copy(), copy()];
  const events = [first, text("between"), second];
  await save("s1", answer("s2", events, { limited: isGap }));
  if (isGap) {
    homeserver.answer(/\/messages$/, { chunk: events });
    await fillGap();
  }
  expect(await entries()).toEqual(["mine", "between"]);
  const rows = await place.sql("select event_id, timeline_number from messages where id = ?", [message?.id]);
  expect(rows).toEqual([{ event_id: first.event_id, timeline_number: 1 }]);
  const redacted = homeserver.calls.filter(({ path }) => path.includes("/redact/"));
  expect(redacted.map(({ path }) => path)).toEqual([
    expect.stringContaining(encodeURIComponent(second.event_id)),
  ]);
});

test("a dead message that Matrix has after all is sent, and an entry says so, which sent will reach", async () => {
  const [message] = await place.accept(room, "ada", "mine");
  const [ada] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  await place.sql(
    "update messages set status = 'dead', open = false, error_code = 'unanswered', error_message = 'late' where id = ?",
    [message?.id],
  );
  const content = { msgtype: "m.text", body: "mine", [MARKER]: message?.id };
  await save("s1", answer("s2", [event({ sender: ada?.matrix_user_id ?? "", content })]));
  expect(await place.sql("select status, error_code from messages where id = ?", [message?.id])).toEqual([
    { status: "sent", error_code: null },
  ]);
  const entries = await place.sql(
    "select type, relates_to from timeline where room_id = ? and relates_to is not null",
    [room.id],
  );
  expect(entries).toEqual([{ type: "message.requeued", relates_to: message?.id }]);
  const [mirror] = await place.sql<{ is_due: boolean; closed_count: number }>(
    "select sent_due_at is not null as is_due, closed_count from room_mirrors where room_id = ?",
    [room.id],
  );
  expect(mirror).toEqual({ is_due: true, closed_count: 0 });
});

describe("a batch of our own messages alone, in known rooms,", () => {
  let ada = "";
  const own = (id: string | undefined, more: Partial<MatrixEvent> = {}) =>
    event({ sender: ada, content: { msgtype: "m.text", body: "one", [MARKER]: id }, ...more });
  const ownTwo = (id: string | undefined) =>
    own(id, { content: { msgtype: "m.text", body: "two", [MARKER]: id } });
  const messages = () =>
    place.sql(
      "select status, open, timeline_number, event_id from messages where room_id = ? order by order_number",
      [room.id],
    );

  beforeEach(async () => {
    const [row] = await place.sql<{ matrix_user_id: string }>(
      "select matrix_user_id from users where external_id = 'ada'",
    );
    ada = row?.matrix_user_id ?? "";
    await save("s0", answer("s1", [text("hello")]));
  });

  async function countStatements(work: () => Promise<void>): Promise<number> {
    let statements = 0;
    const count = () => void statements++;
    place.db.on("query", count);
    await work();
    place.db.off("query", count);
    return statements;
  }

  test("is saved without a look-up and without the timelines' locks", async () => {
    const [one, two] = await place.accept(room, "ada", "one", "two");
    const events = [own(one?.id), ownTwo(two?.id)];
    const locked = await place.db.transaction();
    await locked.raw("select 1 from room_timeline where room_id = ? for update", [room.id]);
    const statements = await countStatements(() => save("s1", answer("s2", events)));
    await locked.rollback();
    // Begin, the position, the messages, commit.
    expect(statements).toBe(4);
    expect(await entries()).toEqual(["hello", "one", "two"]);
    expect(await messages()).toEqual([
      { status: "sent", open: false, timeline_number: 2, event_id: events[0]?.event_id },
      { status: "sent", open: false, timeline_number: 3, event_id: events[1]?.event_id },
    ]);
    expect(await since()).toBe("s2");
  });

  test("is settled once when it is read twice", async () => {
    const [one] = await place.accept(room, "ada", "one");
    const changes = answer("s2", [own(one?.id)]);
    await save("s1", changes);
    await save("s1", changes);
    expect(await entries()).toEqual(["hello", "one"]);
    expect(homeserver.calls.filter(({ path }) => path.includes("/redact/"))).toEqual([]);
  });

  test("is looked up when another sender wrote the marker: the event is that sender's text", async () => {
    const [one] = await place.accept(room, "ada", "one");
    await save("s1", answer("s2", [own(one?.id, { sender: "@mallory:test" })]));
    expect(await entries()).toEqual(["hello", "one", "one"]);
    expect(await messages()).toMatchObject([{ status: "queued", timeline_number: null }]);
  });

  test("is looked up when the marker names another room's message", async () => {
    const other = await place.room(`group:sync-${++count}`, ["ada"]);
    const [elsewhere] = await place.accept(other, "ada", "elsewhere");
    await save("s1", answer("s2", [own(elsewhere?.id)]));
    expect(await entries()).toEqual(["hello", "one"]);
  });

  test("is settled when the same person wrote the marker with another text: formatted texts change on their way", async () => {
    const [two] = await place.accept(room, "ada", "two");
    await save("s1", answer("s2", [own(two?.id)]));
    expect(await entries()).toEqual(["hello", "two"]);
    expect(await messages()).toMatchObject([{ status: "sent", timeline_number: 2 }]);
  });

  test("is looked up when the same person wrote the marker in a reaction: that is a reaction of that person", async () => {
    const [two] = await place.accept(room, "ada", "two");
    const relation = { rel_type: "m.annotation", event_id: "$two", key: "+" };
    await place.sql("update messages set event_id = '$two' where id = ?", [two?.id]);
    await save(
      "s1",
      answer("s2", [
        own(two?.id, { type: "m.reaction", content: { "m.relates_to": relation, [MARKER]: two?.id } }),
      ]),
    );
    expect(await messages()).toMatchObject([{ status: "queued", timeline_number: null }]);
    expect(await place.sql("select key from reactions where message_id = ?", [two?.id])).toEqual([
      { key: "+" },
    ]);
  });

  test("is settled when a module of the homeserver changed the content of an event that was answered", async () => {
    const [two] = await place.accept(room, "ada", "two");
    const event = own(two?.id);
    await place.sql("update messages set status = 'sent', event_id = ? where id = ?", [
      event.event_id,
      two?.id,
    ]);
    await save("s1", answer("s2", [event]));
    expect(await entries()).toEqual(["hello", "two"]);
    expect(await messages()).toMatchObject([{ status: "sent", open: false, timeline_number: 2 }]);
  });

  test("is sent, and then deleted, when its event comes without content", async () => {
    const [two] = await place.accept(room, "ada", "two");
    const event = own(two?.id, { content: {} });
    await place.sql("update messages set status = 'sent', event_id = ? where id = ?", [
      event.event_id,
      two?.id,
    ]);
    await save("s1", answer("s2", [event]));
    expect(await messages()).toMatchObject([{ status: "sent", open: false, timeline_number: 2 }]);
    const rows = await place.sql(
      "select type, content ->> 'text' as text from timeline where room_id = ? order by number",
      [room.id],
    );
    expect(rows).toEqual([
      { type: "message.created", text: "hello" },
      { type: "message.created", text: "" },
      { type: "message.deleted", text: null },
    ]);
  });

  test("is looked up when a message is settled already: its second event is redacted", async () => {
    const [one] = await place.accept(room, "ada", "one");
    const [two] = await place.accept(room, "ada", "two");
    await save("s1", answer("s2", [own(one?.id)]));
    const second = own(one?.id);
    await save("s2", answer("s3", [second, ownTwo(two?.id)]));
    expect(await entries()).toEqual(["hello", "one", "two"]);
    const redacted = homeserver.calls.filter(({ path }) => path.includes("/redact/"));
    expect(redacted.map(({ path }) => path)).toEqual([
      expect.stringContaining(encodeURIComponent(second.event_id)),
    ]);
  });

  test("is settled at once in a room with a gap; what others wrote there waits", async () => {
    const [one, two] = await place.accept(room, "ada", "one", "two");
    await place.sql("update room_timeline set gap_from = 's0', gap_to = 's1' where room_id = ?", [room.id]);
    await save("s1", answer("s2", [own(one?.id), text("waits")]));
    expect(await messages()).toMatchObject([{ status: "sent", open: false }, { status: "queued" }]);
    expect(await entries()).toEqual(["hello", "one", "two"]);
    expect(await gap()).toEqual({ gap_from: "s0", gap_to: "s2" });
    await save("s2", answer("s3", [ownTwo(two?.id)]));
    expect(await messages()).toMatchObject([{ open: false }, { status: "sent", open: false }]);
    expect(await gap()).toEqual({ gap_from: "s0", gap_to: "s3" });
  });

  test("changes nothing in a room that the tenant has deleted but its message", async () => {
    const [one] = await place.accept(room, "ada", "one");
    await place.sql("update rooms set deleted_at = now() where id = ?", [room.id]);
    await save("s1", answer("s2", [own(one?.id)]));
    expect(await entries()).toEqual(["hello", "one"]);
    expect(await since()).toBe("s2");
  });

  test("is not saved by a process that lost the observer's lease", async () => {
    const [one] = await place.accept(room, "ada", "one");
    await expect(save("s1", answer("s2", [own(one?.id)]), newFence())).rejects.toBeInstanceOf(
      ObserverLeaseLost,
    );
    expect(await messages()).toMatchObject([{ status: "queued", event_id: null }]);
    expect(await since()).toBe("s1");
  });
});

const odd = "a" + "🙂".repeat(255);
test.each([
  ["a name that is cut in the middle of a character", text("hi"), odd],
  ["a name of NULs and halves of characters", text("hi"), "x\u0000\ud83d"],
  ["a time after the last date", text("hi", { origin_server_ts: 9_007_199_254_740_991 }), "Mallory"],
  ["a time before the first date", text("hi", { origin_server_ts: -9_007_199_254_740_991 }), "Mallory"],
  ["a time with a fraction", text("hi", { origin_server_ts: 1.5 }), "Mallory"],
])(
  "%s does not stop the observer: the event and the next one are appended",
  async (_, first, displayname) => {
    homeserver.answer(/m\.room\.member/, { membership: "join", displayname }, { isKept: true });
    await save("s1", answer("s2", [first, text("next")]));
    expect(await entries()).toEqual(["hi", "next"]);
    expect(await since()).toBe("s2");
  },
);

test.each([
  ["a state key with a NUL", event({ type: "m.room.topic", state_key: "\u0000", content: {} })],
  ["a member of a name with a NUL", event({ type: "m.room.member", state_key: "@\u0000:test", content: {} })],
  ["a state key of half a character", event({ type: "m.room.name", state_key: "\ud83d", content: {} })],
  [
    "content of the wrong kinds",
    event({ content: { msgtype: {}, body: [], "m.relates_to": 7, [MARKER]: null } }),
  ],
  ["a marker with a NUL", text("hi", { content: { msgtype: "m.text", body: "\u0000", [MARKER]: "\u0000" } })],
  ["an event id with a NUL", text("\u0000", { event_id: "$\u0000" })],
])("%s does not stop the observer: the next event is appended", async (_, first) => {
  await save("s1", answer("s2", [first, text("next")]));
  expect(await entries()).toEqual(["next"]);
});

test("a batch that cannot be saved becomes gaps of its rooms, and reading continues", async () => {
  await place.sql(`create or replace function refuse_poison() returns trigger language plpgsql as $$
    begin if new.content ->> 'text' = 'poison' then raise exception 'poison'; end if; return new; end $$`);
  await place.sql(
    "create trigger refuse_poison before insert on timeline for each row execute function refuse_poison()",
  );
  try {
    const left = await place.room(`group:sync-${++count}`, ["ada"]);
    await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${left.id}`, left.id]);
    const poison = answer("s2", [text("poison")]);
    const changes = {
      ...poison,
      rooms: { join: poison.rooms?.join ?? {}, leave: { [`!${left.id}`]: {} } },
    };
    for (let attempt = 0; attempt < 6; attempt++) homeserver.answer(/\/sync$/, changes);
    await runUntilSuccess();
    expect(await since()).toBe("s2");
    expect(await gap()).toEqual({ gap_from: "s1", gap_to: "s2" });
    expect(await entries()).toEqual([]);
    const out = await place.sql("select 1 from rooms where id = ? and observer_left_at is not null", [
      left.id,
    ]);
    expect(out).toHaveLength(1);
  } finally {
    await place.sql("drop trigger refuse_poison on timeline");
  }
});

/** Runs the observer's loop from "s1" until a round succeeds. */
async function runUntilSuccess(): Promise<void> {
  const stop = new AbortController();
  const run = {
    observer: { ...observer, since: "s1" },
    fence,
    signal: stop.signal,
    known,
    reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
  };
  await runObserver(place.context(homeserver), run, (isSuccess) => {
    if (isSuccess) stop.abort();
  });
}

function failure(errcode: string, cause?: unknown): MatrixFailure {
  return new MatrixFailure("transient", { errcode, httpStatus: null, cause });
}

test("an observer whose account or device is missing on the homeserver is registered again and continues", async () => {
  homeserver.refuse(/\/sync$/, "forbidden");
  homeserver.answer(/\/sync$/, answer("s2", [text("one")]), { isKept: true });
  await runUntilSuccess();
  expect([...homeserver.accounts]).toEqual([observer.matrix_user_id]);
  expect(await entries()).toEqual(["one"]);
});

test("after a response that is too large every room has a gap from the old position, and reading continues", async () => {
  homeserver.fail(/\/sync$/, failure("no answer", new ResponseTooLarge("too large")));
  homeserver.answer(/\/sync$/, { next_batch: "s8" });
  homeserver.answer(/\/sync$/, answer("s9", [text("later")]), { isKept: true });
  await runUntilSuccess();
  expect(await since()).toBe("s9");
  expect(await gap()).toEqual({ gap_from: "s1", gap_to: "s9" });
  expect(place.wakes).toContainEqual({
    name: "room-sync",
    payload: { tenantId: place.tenantId, roomId: room.id },
  });
});

test("after three timeouts every room has a gap", async () => {
  for (let time = 0; time < 3; time++) homeserver.fail(/\/sync$/, failure(NOT_IN_TIME));
  homeserver.answer(/\/sync$/, { next_batch: "s8" });
  homeserver.answer(/\/sync$/, answer("s9", []), { isKept: true });
  await runUntilSuccess();
  expect(await gap()).toEqual({ gap_from: "s1", gap_to: "s8" });
});

test("a homeserver that is slow with every call makes no gap", async () => {
  for (let time = 0; time < 4; time++) homeserver.fail(/\/sync$/, failure(NOT_IN_TIME));
  homeserver.answer(/\/sync$/, answer("s2", [text("one")]), { isKept: true });
  await runUntilSuccess();
  expect(await gap()).toEqual({ gap_from: null, gap_to: null });
  expect(await entries()).toEqual(["one"]);
});

test("events of a room that gets a gap during the look-up wait behind the gap", async () => {
  homeserver.meanwhile = async (path) => {
    if (path.includes("/state/m.room.member/")) {
      await place.sql("update room_timeline set gap_from = 's0', gap_to = 's1' where room_id = ?", [room.id]);
    }
  };
  await save("s1", answer("s2", [text("by an unknown user whose name is fetched")]));
  expect(await entries()).toEqual([]);
  expect(await gap()).toEqual({ gap_from: "s0", gap_to: "s2" });
});

test("a room that becomes ours during the look-up gets its events of the batch", async () => {
  const other = await place.room(`group:sync-${++count}`, ["ada"]);
  homeserver.meanwhile = async (path) => {
    if (path.includes("/state/m.room.member/"))
      await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${other.id}`, other.id]);
  };
  const changes = answer("s2", [text("known")]);
  const join = {
    ...changes.rooms?.join,
    [`!${other.id}`]: { timeline: { events: [text("new")], limited: false } },
  };
  await save("s1", { ...changes, rooms: { join, leave: {} } });
  const rows = await place.sql<{ text: string }>(
    "select content ->> 'text' as text from timeline where room_id = ?",
    [other.id],
  );
  expect(rows).toEqual([{ text: "new" }]);
});

test("after a homeserver went back in time every room has a gap from its beginning", async () => {
  homeserver.fail(/\/sync$/, failure("no answer", new ResponseTooLarge("too large")));
  homeserver.answer(/\/sync$/, { next_batch: "s0" });
  homeserver.answer(/\/sync$/, { next_batch: "n5" });
  await runUntilSuccess();
  expect(await gap()).toEqual({ gap_from: "", gap_to: "n5" });
});

test("timeouts are counted apart from other failures", async () => {
  for (let time = 0; time < 2; time++) homeserver.refuse(/\/sync$/, "transient");
  homeserver.fail(/\/sync$/, failure(NOT_IN_TIME));
  homeserver.answer(/\/sync$/, answer("s2", [text("one")]), { isKept: true });
  await runUntilSuccess();
  expect(await entries()).toEqual(["one"]);
});

test("a redaction is looked up on Matrix, except of a message in the timeline or in the batch", async () => {
  const [said, inBatch] = [text("said before"), text("said now")];
  await save("s1", answer("s2", [said]));
  const redaction = (redacts: string) => event({ type: "m.room.redaction", content: { redacts } });
  homeserver.answer(/\/event\/%24state$/, { type: "m.room.name", state_key: "", content: {} });
  homeserver.answer(/\/event\/%24reaction$/, { type: "m.reaction", content: {} });
  homeserver.refuse(/\/event\/%24lost$/, "transient");
  const version = async () =>
    (
      await place.sql<{ name: number; levels: number }>(
        "select desired_version as name, members_desired_version as levels from rooms where id = ?",
        [room.id],
      )
    )[0] ?? { name: 0, levels: 0 };
  const asked = () => homeserver.calls.filter(({ path }) => path.includes("/event/")).length;

  const before = await version();
  await save("s2", answer("s3", [inBatch, redaction(said.event_id), redaction(inBatch.event_id)]));
  expect(asked()).toBe(0);
  await save("s3", answer("s4", [redaction("$reaction")]));
  expect(await version()).toEqual(before);

  await save("s4", answer("s5", [redaction("$state")]));
  expect(await version()).toEqual({ ...before, name: before.name + 1 });
  expect(place.wakes).toContainEqual({
    name: "provisioning",
    payload: { tenantId: place.tenantId, subject: "room", id: room.id },
  });
  // What could not be looked up may be anything.
  await save("s5", answer("s6", [redaction("$lost")]));
  expect(await version()).toEqual({ name: before.name + 2, levels: before.levels + 1 });
  expect(asked()).toBe(3);
});

test("a state key with half a character does not stop the observer", async () => {
  const odd = event({ type: "m.room.member", state_key: "@\ud800:test", content: { membership: "join" } });
  await save("s1", answer("s2", [odd, text("after it")]));
  expect(await entries()).toEqual(["after it"]);
});

test("what ours accept and what others write at the same time stands in one timeline, without a hole or a duplicate", async () => {
  const ROUNDS = 50;
  const PART = 20;
  const adaId = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = 'ada'",
  );
  const accepted: string[] = [];
  const accepting = (async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const texts = Array.from({ length: PART }, (_, index) => `ours ${round} ${index}`);
      accepted.push(...(await place.accept(room, "ada", ...texts)).map(({ id }) => id));
    }
  })();
  const reading = (async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const external = Array.from({ length: PART }, (_, index) => text(`others ${round} ${index}`));
      const own = accepted.slice(-3).map((id) => {
        const index = accepted.indexOf(id);
        const body = `ours ${Math.floor(index / PART)} ${index % PART}`;
        return event({
          event_id: `$own-${id}`,
          sender: adaId[0]?.matrix_user_id ?? "",
          content: { msgtype: "m.text", body, [MARKER]: id },
        });
      });
      await save(`s${round}`, answer(`s${round + 1}`, [...external, ...own]));
    }
  })();
  await Promise.all([accepting, reading]);
  const rows = await place.sql<{ number: number; text: string }>(
    "select number, content ->> 'text' as text from timeline where room_id = ? order by number",
    [room.id],
  );
  expect(rows.map(({ number }) => number)).toEqual(
    Array.from({ length: 2 * ROUNDS * PART }, (_, index) => index + 1),
  );
  expect(new Set(rows.map(({ text }) => text)).size).toBe(2 * ROUNDS * PART);
  for (const side of ["ours", "others"]) {
    const inOrder = rows.map(({ text }) => text).filter((text) => text.startsWith(side));
    const wanted = Array.from(
      { length: ROUNDS * PART },
      (_, at) => `${side} ${Math.floor(at / PART)} ${at % PART}`,
    );
    expect(inOrder).toEqual(wanted);
  }
  expect(homeserver.calls.filter(({ path }) => path.includes("/redact/"))).toEqual([]);
});
