import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import { acquireObserverLeases, type LeasedObserver } from "../../shared/db/observers/observer-lease.ts";
import { takeWaiting } from "../../shared/db/acts/waiting-acts.ts";
import { isViewStale } from "../../shared/db/connection/failures.ts";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { listEntriesAfter, listTimelineMessages } from "../../shared/db/timeline/pages.ts";
import { presentTimelineMessage } from "../../shared/timeline/present/message.ts";
import { presentEntry } from "../../shared/timeline/read.ts";
import { restartReading } from "../../workers/inbound/save-gaps.ts";
import { saveChanges } from "../../workers/inbound/save-changes.ts";
import { handleMaintenance } from "../../workers/jobs/maintenance.ts";
import { handleRoomSync } from "../../workers/jobs/room-sync.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import { findText } from "../support/find-text.ts";
import { FakeHomeserver } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let observer: LeasedObserver & { fence: string };
let room: Room;
let known: Map<string, string>;
let count = 0;

beforeAll(async () => {
  place = await openWorkplace();
  const [taken] = await acquireObserverLeases(place.db, 1);
  if (!taken) throw new Error("no observer");
  observer = taken;
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  known = new Map();
  await place.sql("update sync_positions set lease_until = now() + interval '1 hour'");
  room = await place.room(`group:acts-${++count}`, ["ada", "bob"]);
  await place.sql("update rooms set matrix_room_id = ? where id = ?", [`!${room.id}`, room.id]);
});
afterAll(() => place.close());

const mallory = "@mallory:test";

async function matrixId(user: string): Promise<string> {
  await place.userId(user);
  const [row] = await place.sql<{ matrix_user_id: string }>(
    "select matrix_user_id from users where external_id = ?",
    [user],
  );
  return row?.matrix_user_id ?? "";
}

/** An event of ada by default. Each is a second later than the one before. */
async function event(
  type: string,
  content: Record<string, unknown>,
  more: Partial<MatrixEvent> = {},
): Promise<MatrixEvent> {
  const id = ++count;
  const sender = more.sender ?? (await matrixId("ada"));
  return { event_id: `$event${id}`, type, origin_server_ts: id * 1_000, content, ...more, sender };
}

const text = (body: string, more: Partial<MatrixEvent> = {}) =>
  event("m.room.message", { msgtype: "m.text", body }, more);

const edit = (target: string, body: string, more: Partial<MatrixEvent> = {}) => {
  const relation = { rel_type: "m.replace", event_id: target };
  const newContent = { msgtype: "m.text", body };
  const content = { ...newContent, body: `* ${body}`, "m.new_content": newContent, "m.relates_to": relation };
  return event("m.room.message", content, more);
};

const react = (target: string, key: string, more: Partial<MatrixEvent> = {}) =>
  event("m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: target, key } }, more);

const redact = (target: string, more: Partial<MatrixEvent> = {}) =>
  event("m.room.redaction", { redacts: target }, more);

const running = () => ({
  observer,
  fence: observer.fence,
  signal: new AbortController().signal,
  known,
  reading: { fromStream: false, isConfirmed: false, roomsComparedAtMs: null },
});

let position = 0;
/** What the observer reads at once. */
async function read(events: readonly MatrixEvent[], { limited = false } = {}): Promise<void> {
  const from = `s${position}`;
  const timeline = { events: [...events], limited };
  await saveChanges(place.context(homeserver), running(), from, {
    next_batch: `s${++position}`,
    rooms: { join: { [`!${room.id}`]: { timeline } }, leave: {} },
  });
}

/** The room is read again from its beginning. */
async function rereadAll(events: readonly MatrixEvent[]): Promise<void> {
  await restartReading(place.context(homeserver), running(), { to: `s${++position}`, left: [] });
  homeserver.answer(/\/messages$/, { chunk: events }, { isKept: true });
  await handleRoomSync(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
}

async function messages(): Promise<MessageResource[]> {
  const rows = await listTimelineMessages(place.db, place.tenantId, room.id, { edge: null, limit: 100 });
  return rows.map(presentTimelineMessage);
}

/** What a person sees of each message. */
async function shown() {
  return (await messages()).map(({ text: body, editedAt, deletedAt, reactions }) => ({
    text: body,
    isEdited: editedAt !== null,
    isDeleted: deletedAt !== null,
    reactions: Object.fromEntries(reactions.map(({ key, count: people }) => [key, people])),
  }));
}

async function types(): Promise<string[]> {
  const bounds = { roomId: room.id, position: 0, lastNumber: 1_000 };
  return (await listEntriesAfter(place.db, bounds, 1_000)).map((row) => presentEntry(row).type);
}

async function waiting(): Promise<number> {
  return (await place.sql("select 1 from waiting_acts where room_id = ?", [room.id])).length;
}

const plain = { isEdited: false, isDeleted: false, reactions: {} };

describe("what other Matrix clients do to a message", () => {
  test("has one entry each: an edit, a reaction, its removal and a deletion, by who did it", async () => {
    const message = await text("hello");
    const [edited, reacted] = [
      await edit(message.event_id, "hello!"),
      await react(message.event_id, "👍", { sender: await matrixId("bob") }),
    ];
    await read([message]);
    await read([edited, reacted]);
    expect(await shown()).toEqual([{ ...plain, text: "hello!", isEdited: true, reactions: { "👍": 1 } }]);

    await read([await redact(reacted.event_id, { sender: await matrixId("bob") })]);
    expect(await shown()).toEqual([{ ...plain, text: "hello!", isEdited: true }]);
    const bounds = { roomId: room.id, position: 1, lastNumber: 9 };
    const entries = (await listEntriesAfter(place.db, bounds, 9)).map(presentEntry);
    expect(entries).toMatchObject([
      { type: "message.edited", by: { user: "ada" }, message: { text: "hello!" } },
      { type: "reaction.added", by: { user: "bob" }, key: "👍" },
      { type: "reaction.removed", by: { user: "bob" }, key: "👍", count: 0, users: [] },
    ]);

    await read([await redact(message.event_id)]);
    expect(await shown()).toMatchObject([{ text: "", isDeleted: true, reactions: {} }]);
    expect((await types()).at(-1)).toBe("message.deleted");
  });

  test("changes a message of ours as well, before it was marked as sent too", async () => {
    const [message] = await place.accept(room, "ada", "ours");
    await place.sql("update messages set event_id = '$ours' where id = ?", [message?.id]);
    await read([await react("$ours", "+", { sender: mallory }), await edit("$ours", "ours, corrected")]);
    expect(await shown()).toEqual([
      { ...plain, text: "ours, corrected", isEdited: true, reactions: { "+": 1 } },
    ]);
  });

  test("counts when the same batch has our message, which the drain has not marked yet", async () => {
    const [message] = await place.accept(room, "ada", "ours");
    const echo = await event("m.room.message", { msgtype: "m.text", body: "ours", [MARKER]: message?.id });
    await read([echo, await react(echo.event_id, "+", { sender: mallory })]);
    expect(await shown()).toEqual([{ ...plain, text: "ours", reactions: { "+": 1 } }]);
    expect(await waiting()).toBe(0);
  });

  test("is ignored where the person may not do it here: an edit by others and a deletion by a member", async () => {
    const message = await text("hello");
    const bob = await matrixId("bob");
    const context = place.context(homeserver);
    await read([message]);
    await saveChanges(context, running(), `s${position}`, {
      next_batch: `s${++position}`,
      rooms: {
        join: {
          [`!${room.id}`]: {
            timeline: {
              events: [
                await edit(message.event_id, "by bob", { sender: bob }),
                await edit(message.event_id, "by mallory", { sender: mallory }),
                await redact(message.event_id, { sender: bob }),
              ],
              limited: false,
            },
          },
        },
        leave: {},
      },
    });
    expect(await shown()).toEqual([{ ...plain, text: "hello" }]);
    const repaired = await context.metrics.driftRepaired.get();
    expect(repaired.values).toContainEqual(expect.objectContaining({ labels: { what: "acts" }, value: 3 }));
  });

  test("counts two equal reactions of one person once, and takes the reaction away with the last of them", async () => {
    const message = await text("hello");
    const [one, two] = [await react(message.event_id, "❤️"), await react(message.event_id, "❤")];
    await read([message, one, two]);
    expect(await shown()).toEqual([{ ...plain, text: "hello", reactions: { "❤": 1 } }]);
    await read([await redact(one.event_id)]);
    expect(await shown()).toEqual([{ ...plain, text: "hello", reactions: { "❤": 1 } }]);
    await read([await redact(two.event_id)]);
    expect(await shown()).toEqual([{ ...plain, text: "hello" }]);
    expect(await types()).toEqual(["message.created", "reaction.added", "reaction.removed"]);
  });

  test("returns to the edit before, and then to the first text, when edits are redacted", async () => {
    const message = await text("first");
    const [one, two] = [await edit(message.event_id, "second"), await edit(message.event_id, "third")];
    await read([message, one, two]);
    await read([await redact(two.event_id)]);
    expect(await shown()).toEqual([{ ...plain, text: "second", isEdited: true }]);
    await read([await redact(one.event_id)]);
    expect(await shown()).toEqual([{ ...plain, text: "first" }]);
    expect(
      JSON.stringify(await place.sql("select content from timeline where room_id = ?", [room.id])),
    ).not.toMatch(/second|third/);
  });

  test("wakes the consumers of its room", async () => {
    const message = await text("hello");
    await read([message]);
    place.wakes.length = 0;
    const context = { ...place.context(homeserver), consumers: [{ name: "index" }] as never };
    const timeline = { events: [await react(message.event_id, "+")], limited: false };
    await saveChanges(context, running(), `s${position}`, {
      next_batch: `s${++position}`,
      rooms: { join: { [`!${room.id}`]: { timeline } }, leave: {} },
    });
    const payload = { tenantId: place.tenantId, roomId: room.id, consumer: "index" };
    expect(place.wakes).toContainEqual({ name: "timeline-consumer", payload });
  });

  test("asks the homeserver about no redaction of what is here", async () => {
    const message = await text("hello");
    const [edited, reacted] = [await edit(message.event_id, "new"), await react(message.event_id, "+")];
    await read([message, edited, reacted]);
    for (const { event_id: target } of [reacted, edited, message]) await read([await redact(target)]);
    expect(homeserver.calls.filter(({ path }) => path.includes("/event/"))).toEqual([]);
  });
});

describe("an act that comes before its target", () => {
  test.each([
    ["an edit", async (id: string) => [await edit(id, "new")], { ...plain, text: "new", isEdited: true }],
    [
      "a reaction",
      async (id: string) => [await react(id, "+")],
      { ...plain, text: "hello", reactions: { "+": 1 } },
    ],
    ["a redaction", async (id: string) => [await redact(id)], { ...plain, text: "", isDeleted: true }],
  ])(
    "waits for it without a number when it is %s, and stands right after it",
    async (_, actsOn, expected) => {
      const [message, after] = [await text("hello"), await text("after")];
      await read(await actsOn(message.event_id));
      expect(await types()).toEqual([]);
      expect(await waiting()).toBe(1);
      await read([message, after]);
      expect(await shown()).toEqual([expected, { ...plain, text: "after" }]);
      expect(await waiting()).toBe(0);
      const rows = await place.sql<{ relates_to: string | null }>(
        "select relates_to from timeline where room_id = ? order by number",
        [room.id],
      );
      expect(rows.map(({ relates_to: target }) => target !== null)).toEqual([false, true, false]);
    },
  );

  test("is carried out once it is adopted, where its target has come by another way", async () => {
    const [message] = await place.accept(room, "ada", "ours");
    await read([await react("$ours", "+", { sender: mallory })]);
    expect(await waiting()).toBe(1);
    await handleMaintenance(place.context(homeserver), { task: "reconcile" });
    expect(await waiting()).toBe(1);
    await place.sql("update messages set event_id = '$ours' where id = ?", [message?.id]);
    await handleMaintenance(place.context(homeserver), { task: "reconcile" });
    expect(await waiting()).toBe(0);
    expect(await shown()).toEqual([{ ...plain, text: "ours", reactions: { "+": 1 } }]);
  });

  test("is not carried out when it is redacted in the batch of its target, or after it was found", async () => {
    const message = await text("hello");
    const edited = await edit(message.event_id, "new");
    await read([edited]);
    await read([message, await redact(edited.event_id)]);
    expect(await shown()).toEqual([{ ...plain, text: "hello" }]);
    expect(await waiting()).toBe(0);

    const taken = [{ roomId: room.id, eventId: edited.event_id }];
    const late = await transactPipelined(place.db, [takeWaiting(taken)]).catch(isViewStale);
    expect(late).toBe(true);
  });

  test.each([false, true])(
    "is not kept with its text when its target is redacted (before it: %s)",
    async (isBefore) => {
      const [edited, redacted] = [await edit("$gone", "a secret"), await redact("$gone")];
      for (const each of isBefore ? [redacted, edited] : [edited, redacted]) await read([each]);
      expect(await waiting()).toBe(1);
      expect(await findText(place.db, place.redis, "a secret")).toEqual([]);
    },
  );

  test("stays a deletion when it is redacted itself: that brings nothing back", async () => {
    const message = await text("hello");
    const deletion = await redact(message.event_id);
    await read([deletion]);
    await read([await redact(deletion.event_id)]);
    await read([message]);
    expect(await shown()).toEqual([{ ...plain, text: "", isDeleted: true }]);
  });

  test("is dropped when it is redacted itself, and after 30 days", async () => {
    const reacted = await react("$never", "+");
    await read([reacted]);
    await read([await redact(reacted.event_id)]);
    expect(await waiting()).toBe(0);
    await read([await react("$never", "+")]);
    await place.sql("update waiting_acts set since = now() - interval '29 days' where room_id = ?", [
      room.id,
    ]);
    await handleMaintenance(place.context(homeserver), { task: "retention" });
    expect(await waiting()).toBe(1);
    await place.sql("update waiting_acts set since = now() - interval '31 days' where room_id = ?", [
      room.id,
    ]);
    await handleMaintenance(place.context(homeserver), { task: "retention" });
    expect(await waiting()).toBe(0);
  });

  test("is not kept in a room where a thousand wait", async () => {
    await place.sql(
      `insert into waiting_acts (room_id, event_id, tenant_id, target_event_id, act)
       select ?, '$waits' || n, ?, '$never', '{}' from generate_series(1, 1000) n`,
      [room.id, place.tenantId],
    );
    await read([await react("$never", "+")]);
    expect(await waiting()).toBe(1_000);
    await place.sql("delete from waiting_acts where room_id = ?", [room.id]);
  });
});

describe("a message of ours that was redacted before it is read", () => {
  test.each([false, true])(
    "is deleted by who redacted it, for the reason given (in a gap: %s)",
    async (isInGap) => {
      const [message] = await place.accept(room, "ada", "ours");
      const id = message?.id ?? "";
      await place.sql("update messages set event_id = '$ours', status = 'sent' where id = ?", [id]);
      await place.sql("update memberships set role = 'moderator' where room_id = ? and user_id = ?", [
        room.id,
        await place.userId("bob"),
      ]);
      const redaction = await event(
        "m.room.redaction",
        { redacts: "$ours", reason: "spam" },
        { sender: await matrixId("bob") },
      );
      const pruned = await event(
        "m.room.message",
        {},
        { event_id: "$ours", unsigned: { redacted_because: redaction } },
      );
      await read([pruned], { limited: isInGap });
      if (isInGap) {
        homeserver.answer(/\/messages$/, { chunk: [pruned] });
        await handleRoomSync(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
      }
      await read([redaction]);
      const [shownMessage] = await messages();
      expect(shownMessage).toMatchObject({ id, text: "", reason: "spam", deletedBy: { user: "bob" } });
      expect((await types()).filter((type) => type === "message.deleted")).toHaveLength(2);
    },
  );
});

describe("any order of arrival", () => {
  /** A fixed order for each seed. */
  function shuffle<T>(items: readonly T[], seed: number): T[] {
    const order = items.map((item, index) => ({ item, key: Math.sin(seed * 97 + index * 31) }));
    return order.toSorted((one, other) => one.key - other.key).map(({ item }) => item);
  }

  test.each(Array.from({ length: 8 }, (_, seed) => seed + 1))(
    "of edits, reactions and redactions ends in the same state, one by one and at once (seed %d)",
    async (seed) => {
      const message = await text("first");
      const [old, lost, newest] = [
        await edit(message.event_id, "old"),
        await edit(message.event_id, "lost"),
        await edit(message.event_id, "newest"),
      ];
      const [kept, taken] = [await react(message.event_id, "+"), await react(message.event_id, "-")];
      const events = [message, old, lost, newest, kept, taken];
      const all = [...events, await redact(newest.event_id), await redact(taken.event_id)];
      const expected = [{ ...plain, text: "lost", isEdited: true, reactions: { "+": 1 } }];

      for (const each of shuffle(all, seed)) await read([each]);
      expect(await shown()).toEqual(expected);
      expect(await waiting()).toBe(0);

      await rereadAll(all);
      expect(await shown()).toEqual(expected);
    },
  );

  test("of two edits of one millisecond, the one with the larger event id counts", async () => {
    for (const isReversed of [false, true]) {
      const message = await text("first");
      const one = await edit(message.event_id, "a", { event_id: `$a${count}`, origin_server_ts: 5_000 });
      const two = await edit(message.event_id, "b", { event_id: `$b${count}`, origin_server_ts: 5_000 });
      await read([message, ...(isReversed ? [two, one] : [one, two])]);
    }
    expect((await shown()).map(({ text: body }) => body)).toEqual(["b", "b"]);
  });

  test("in a gap ends in the order of the gap: what comes live waits for it", async () => {
    const [message, late] = [await text("hello"), await text("late")];
    const [edited, redacted] = [await edit(message.event_id, "new"), await redact(late.event_id)];
    await read([edited, redacted], { limited: true });
    expect(await types()).toEqual([]);
    expect(await waiting()).toBe(0);
    homeserver.answer(/\/messages$/, { chunk: [message, late], end: "p1" });
    homeserver.answer(/\/messages$/, { chunk: [edited, redacted] });
    await handleRoomSync(place.context(homeserver), { tenantId: place.tenantId, roomId: room.id });
    expect(await shown()).toEqual([
      { ...plain, text: "new", isEdited: true },
      { ...plain, text: "", isDeleted: true },
    ]);
  });
});

describe("a batch of acts of ours", () => {
  const reaction: ActContent = { kind: "reaction", key: "+" };

  async function countStatements(work: () => Promise<void>): Promise<number> {
    let statements = 0;
    const counting = () => void statements++;
    place.db.on("query", counting);
    await work();
    place.db.off("query", counting);
    return statements;
  }

  async function accepted(user: string, target: string, act: ActContent): Promise<string> {
    const acceptance = await place.act(room, user, target, act);
    if (acceptance.outcome !== "done") throw new Error(acceptance.outcome);
    return acceptance.id;
  }

  async function openRows(): Promise<number> {
    return (await place.sql("select 1 from messages where room_id = ? and open", [room.id])).length;
  }

  test("is settled without a look-up: a reaction, its removal, an edit and a deletion", async () => {
    const [row] = await place.accept(room, "ada", "ours");
    const message = row?.id ?? "";
    const bob = await matrixId("bob");
    await read([await text("makes the room known")]);
    const acts: { id: string; echo: (id: string) => Promise<MatrixEvent>; statements: number }[] = [];
    const marked = async (given: Promise<MatrixEvent>, id: string) => {
      const made = await given;
      return { ...made, content: { ...made.content, [MARKER]: id } };
    };
    const echo = await marked(text("ours"), message);
    let reactionEvent = "";
    acts.push(
      {
        id: await accepted("bob", message, reaction),
        echo: async (id) => {
          const made = await marked(react(echo.event_id, "+", { sender: bob }), id);
          reactionEvent = made.event_id;
          return made;
        },
        // Begin, the position, the act, the reaction's event, commit.
        statements: 5,
      },
      {
        id: await accepted("bob", message, { kind: "unreaction", key: "+" }),
        echo: (id) => marked(redact(reactionEvent, { sender: bob }), id),
        statements: 5,
      },
      {
        id: await accepted("ada", message, {
          ...{ kind: "edit", of: "text", text: "ours!", format: "plain", html: null },
          mentions: { users: [], room: false },
        }),
        echo: (id) => marked(edit(echo.event_id, "ours!"), id),
        statements: 4,
      },
    );
    await read([echo]);
    const before = await types();
    for (const { id, echo: toEcho, statements } of acts) {
      const made = await toEcho(id);
      expect(await countStatements(() => read([made]))).toBe(statements);
      await read([made]);
    }
    const deletion = await accepted("ada", message, { kind: "deletion", reason: null });
    const redaction = await marked(redact(echo.event_id), deletion);
    expect(await countStatements(() => read([redaction]))).toBe(5);
    expect(await openRows()).toBe(0);
    expect(await types()).toHaveLength(before.length + 1);
    const events = await place.sql("select event_id, removed from reaction_events where room_id = ?", [
      room.id,
    ]);
    expect(events).toEqual([{ event_id: reactionEvent, removed: true }]);
  });

  test("is not taken for the act when another person sends the marker: that person's act counts as its own", async () => {
    const [row] = await place.accept(room, "ada", "ours");
    const message = row?.id ?? "";
    await place.sql("update messages set event_id = '$ours' where id = ?", [message]);
    await read([await text("makes the room known")]);
    const id = await accepted("bob", message, reaction);
    const forged = await react("$ours", "+", { sender: mallory });
    await read([{ ...forged, content: { ...forged.content, [MARKER]: id } }]);
    expect(await openRows()).toBe(2);
    expect((await shown())[0]).toMatchObject({ reactions: { "+": 2 } });
  });

  test("leaves a reaction that the person gave again while its removal was on its way", async () => {
    const [row] = await place.accept(room, "ada", "ours");
    const message = row?.id ?? "";
    const bob = await matrixId("bob");
    await place.sql("update messages set event_id = '$again' where id = ?", [message]);
    const first = await react("$again", "+", { sender: bob });
    await read([first]);
    const removal = await accepted("bob", message, { kind: "unreaction", key: "+" });
    await accepted("bob", message, reaction);
    const redaction = await redact(first.event_id, { sender: bob });
    await read([{ ...redaction, content: { ...redaction.content, [MARKER]: removal } }]);
    // A second redaction of the same event, without a marker.
    await read([await redact(first.event_id, { sender: bob })]);
    expect((await shown())[0]).toMatchObject({ reactions: { "+": 1 } });
  });

  test("in a room with a gap is settled at once", async () => {
    const [row] = await place.accept(room, "ada", "ours");
    const message = row?.id ?? "";
    await place.sql("update messages set event_id = '$gapped' where id = ?", [message]);
    const id = await accepted("bob", message, reaction);
    const made = await react("$gapped", "+", { sender: await matrixId("bob") });
    await read([{ ...made, content: { ...made.content, [MARKER]: id } }], { limited: true });
    expect(await openRows()).toBe(1);
    const events = await place.sql("select removed from reaction_events where room_id = ?", [room.id]);
    expect(events).toEqual([{ removed: false }]);
  });
});
