import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import { endMemberships, upsertMembers } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfRemovedSender } from "../../shared/db/messages/dead/dead-messages.ts";
import { replayMessages } from "../../shared/db/messages/dead/replay-messages.ts";
import { wantRetry } from "../../shared/db/messages/dead/retry-wanted.ts";
import { acquireRoomLease, releaseRoomLease } from "../../shared/db/rooms/room-lease.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { findTimelineMessage, listEntriesAfter } from "../../shared/db/timeline/pages.ts";
import { setTenantLimits } from "../../shared/db/tenants/tenants.ts";
import { furtherTransactionId, newFence } from "../../shared/platform/ids.ts";
import { presentTimelineMessage } from "../../shared/timeline/present/message.ts";
import { presentEntry } from "../../shared/timeline/read.ts";
import { handleOutboundMessage } from "../../workers/jobs/outbound-message.ts";
import { MatrixFailure } from "../../workers/matrix/http/failure.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import type { JobResult, WorkerContext } from "../../workers/runtime/context.ts";
import { FakeHomeserver, type RecordedCall } from "../support/stack-fake-homeserver.ts";
import { openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;
let homeserver: FakeHomeserver;
let room: Room;
let count = 0;
beforeAll(async () => {
  place = await openWorkplace();
});
beforeEach(async () => {
  homeserver = new FakeHomeserver();
  room = await place.room(`group:acts-out-${++count}`, ["ada", "bob"]);
});
afterAll(() => place.close());

const DELETION: ActContent = { kind: "deletion", reason: null };
const REACTION: ActContent = { kind: "reaction", key: "❤", raw: "❤\uFE0F" };
const UNREACTION: ActContent = { kind: "unreaction", key: "❤" };

function edit(text: string): ActContent {
  return {
    kind: "edit",
    of: "text",
    text,
    format: "plain",
    html: null,
    mentions: { users: [], room: false },
  };
}

function drain(overrides: Partial<WorkerContext> = {}): Promise<JobResult> {
  const context = { ...place.context(homeserver), ...overrides };
  return handleOutboundMessage(context, { tenantId: place.tenantId, roomId: room.id });
}

async function say(user: string, text: string): Promise<string> {
  const [message] = await place.accept(room, user, text);
  if (!message) throw new Error("no message was accepted");
  return message.id;
}

/** Accepts an act, and returns its id. */
async function act(user: string, target: string, content: ActContent): Promise<string> {
  const acceptance = await place.act(room, user, target, content);
  if (acceptance.outcome !== "done") throw new Error(`not accepted: ${acceptance.outcome}`);
  return acceptance.id;
}

/** The calls that write to the timeline on Matrix, in order. */
function written(): RecordedCall[] {
  return homeserver.calls.filter(({ path }) => /\/(send|redact)\//.test(path));
}

/** What these calls do: the id of what is sent; of a redaction, what is redacted and the transaction id. */
function done(): string[] {
  return written().map(({ path }) => {
    const [verb = "", what = "", transactionId = ""] = path.split("/").slice(3);
    const redacted = decodeURIComponent(what).split("/").at(-1) ?? "";
    return verb === "send" ? `send ${transactionId}` : `redact ${redacted} as ${transactionId}`;
  });
}

/** The event that the fake homeserver gives a message or an act that is sent. */
function eventOf(id: string): string {
  const sent = written().find(({ path }) => path.endsWith(`/${id}`));
  if (!sent) throw new Error(`${id} was not sent`);
  return `$${sent.path}`;
}

async function matrixIdOf(user: string): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>("select matrix_user_id from users where id = ?", [
    await place.userId(user),
  ]);
  return row?.matrix_user_id ?? "";
}

async function observerId(): Promise<string> {
  const [row] = await place.sql<{ matrix_user_id: string }>(
    "select o.matrix_user_id from observers o join rooms r on r.observer_id = o.id where r.id = ?",
    [room.id],
  );
  return row?.matrix_user_id ?? "";
}

async function statuses(): Promise<string[]> {
  const rows = await place.sql<{ kind: string; status: string; error_code: string | null; open: boolean }>(
    "select content ->> 'kind' as kind, status, error_code, open from messages where room_id = ? order by order_number",
    [room.id],
  );
  return rows.map(({ kind, status, error_code: code, open }) =>
    [kind, status, ...(code === null ? [] : [code]), ...(open ? ["open"] : [])].join(" "),
  );
}

/** What the timeline says of failures and repetitions. */
async function reports(): Promise<unknown[]> {
  const rows = await place.sql<{ type: string; relates_to: string; act: string; code: string | null }>(
    `select type, relates_to, content ->> 'act' as act, content -> 'error' ->> 'code' as code
       from timeline where room_id = ? and type in ('message.failed', 'message.requeued') order by number`,
    [room.id],
  );
  return rows.map(({ type, relates_to: about, act: word, code }) => [type, word, about, code]);
}

/** The delay after a failure is over. */
async function becomeDue(): Promise<void> {
  await place.sql("update room_outbox set next_attempt_at = now() where room_id = ?", [room.id]);
}

test("acts follow their message to Matrix in one drain, each with its marker and the message's event", async () => {
  const message = await say("ada", "helo");
  const edited = await act("ada", message, edit("hello"));
  const reacted = await act("bob", message, REACTION);

  expect(await drain()).toEqual({ retryInMs: null });

  const event = eventOf(message);
  expect(done()).toEqual([`send ${message}`, `send ${edited}`, `send ${reacted}`]);
  const [, correction, heart] = written();
  expect(correction).toMatchObject({ as: await matrixIdOf("ada"), query: { ts: expect.any(String) } });
  expect(correction?.body).toEqual({
    msgtype: "m.text",
    body: "* hello",
    "m.mentions": {},
    "m.new_content": { msgtype: "m.text", body: "hello", "m.mentions": {} },
    "m.relates_to": { rel_type: "m.replace", event_id: event },
    [MARKER]: edited,
  });
  expect(heart?.as).toBe(await matrixIdOf("bob"));
  expect(heart?.body).toEqual({
    "m.relates_to": { rel_type: "m.annotation", event_id: event, key: "❤\uFE0F" },
    [MARKER]: reacted,
  });
  expect(await statuses()).toEqual(["text sent open", "edit sent open", "reaction sent open"]);
});

test("a deletion redacts the edits, and then the message with the reason and its marker", async () => {
  const message = await say("ada", "secret");
  const edited = await act("ada", message, edit("secret too"));
  await drain();
  const deleted = await act("ada", message, { kind: "deletion", reason: "wrong room" });

  await drain();

  const [, , further, redaction] = written();
  expect(done().slice(2)).toEqual([
    `redact ${edited} as ${furtherTransactionId(deleted, eventOf(edited))}`,
    `redact ${message} as ${deleted}`,
  ]);
  expect(redaction).toMatchObject({ as: await matrixIdOf("ada") });
  expect(redaction?.body).toEqual({ reason: "wrong room", [MARKER]: deleted });
  expect(further?.body).toEqual({});
  expect((await statuses())[2]).toBe("deletion sent open");
});

test("a message that may be on Matrix is sent empty and redacted; an edit that lost it so is dead", async () => {
  const message = await say("ada", "one");
  await place.sql("update messages set status = 'sending' where id = ?", [message]);
  const edited = await act("ada", message, edit("two"));
  await place.sql("update messages set status = 'sending' where id = ?", [edited]);
  const deleted = await act("ada", message, DELETION);

  await drain();
  await drain();

  // The edit lost its message: nobody knows whether it is on Matrix. When its event comes, it is redacted.
  expect(done()).toEqual([`send ${message}`, `redact ${message} as ${deleted}`]);
  expect(written()[0]?.body).toMatchObject({ body: "" });
  expect(await statuses()).toEqual(["text sent open", "edit dead target_deleted", "deletion sent open"]);
});

test("the observer deletes for a moderator, without a join of the moderator", async () => {
  const message = await say("ada", "spam");
  await drain();
  await upsertMembers(place.db, place.tenantId, room.id, [
    { userId: await place.userId("mod"), role: "moderator" },
  ]);
  const joins = homeserver.calls.filter(({ path }) => path.includes("/join")).length;
  await act("mod", message, DELETION);

  await drain();

  expect(written().at(-1)).toMatchObject({
    as: await observerId(),
    path: expect.stringContaining("/redact/"),
  });
  expect(homeserver.calls.filter(({ path }) => path.includes("/join"))).toHaveLength(joins);
});

test("of a removed member, deletions and removals of reactions are carried out by the observer; other acts are dead", async () => {
  const message = await say("bob", "hello");
  const own = await say("ada", "mine");
  await act("ada", message, REACTION);
  await drain();
  await act("ada", message, UNREACTION);
  await act("ada", message, { kind: "reaction", key: "+1" });
  await act("ada", own, DELETION);
  const senderId = await place.userId("ada");

  await place.db.transaction(async (trx) => {
    await trx.raw("select 1 from room_timeline where room_id = ? for update", [room.id]);
    await endMemberships(trx, place.tenantId, senderId, [room.id]);
    await markDeadOfRemovedSender(trx, place.tenantId, { senderIds: [senderId], roomIds: [room.id] });
  });
  await drain();

  expect((await statuses()).slice(3)).toEqual([
    "unreaction sent open",
    "reaction dead sender_removed",
    "deletion sent open",
  ]);
  const observer = await observerId();
  expect(
    written()
      .slice(3)
      .map(({ as }) => as),
  ).toEqual([observer, observer]);
});

test.each([
  ["a reaction", REACTION, UNREACTION],
  ["a message", null, DELETION],
])(
  "%s that the same drain sends and redacts is marked before: an observer that reads it redacted knows it by its event",
  async (_what, first, second) => {
    const message = await say("ada", "hello");
    const sent = first === null ? message : await act("ada", message, first);
    // It may be on Matrix: else a deletion would end it here.
    await place.sql("update messages set status = 'sending' where id = ?", [sent]);
    await act("ada", message, second);
    const known: unknown[] = [];
    homeserver.meanwhile = async (path) => {
      if (!path.includes("/redact/")) return;
      known.push(await place.sql("select event_id from messages where id = ?", [sent]));
    };

    await drain();

    expect(known).toEqual([[{ event_id: eventOf(sent) }]]);
  },
);

test("removing a reaction redacts every event of it that is on Matrix, and none that was removed before", async () => {
  const message = await say("ada", "hello");
  const first = await act("bob", message, REACTION);
  const removed = await act("bob", message, UNREACTION);
  const second = await act("bob", message, REACTION);
  await drain();
  await place.sql(
    "insert into reaction_events (room_id, event_id, message_id, key, person) values (?, '$of-a-client', ?, '❤', ?)",
    [room.id, message, await place.userId("bob")],
  );
  const all = await act("bob", message, UNREACTION);

  await drain();

  expect(done().slice(0, 4)).toEqual([
    `send ${message}`,
    `send ${first}`,
    `redact ${first} as ${removed}`,
    `send ${second}`,
  ]);
  expect(done().slice(4)).toEqual([
    `redact $of-a-client as ${furtherTransactionId(all, "$of-a-client")}`,
    `redact ${second} as ${all}`,
  ]);
});

test("a reaction that the homeserver has from the person already is done, and waits for no event", async () => {
  const message = await say("ada", "hello");
  await drain();
  await act("bob", message, REACTION);
  homeserver.fail(
    /m\.reaction/,
    new MatrixFailure("conflict", { errcode: "M_DUPLICATE_ANNOTATION", httpStatus: 400 }),
  );

  expect(await drain()).toEqual({ retryInMs: null });

  expect(await statuses()).toEqual(["text sent open", "reaction sent"]);
  expect(place.sent.has(room.id)).toBe(true);
  const [row] = await place.sql<{ waiting: string }>(
    "select o.accepted_count - m.closed_count as waiting from room_outbox o join room_mirrors m using (room_id) where room_id = ?",
    [room.id],
  );
  expect(Number(row?.waiting)).toBe(1);
});

test("a deletion of a message that Matrix never had asks Matrix for nothing", async () => {
  const message = await say("ada", "never there");
  const reacted = await act("bob", message, REACTION);
  homeserver.refuse(/send/, "permanent");
  await drain();
  const deleted = await act("ada", message, DELETION);
  const calls = homeserver.calls.length;

  await drain();

  expect(homeserver.calls).toHaveLength(calls);
  expect(await statuses()).toEqual(["text dead refused", "reaction dead target_dead", "deletion sent"]);
  expect([reacted, deleted]).toHaveLength(2);
});

test("acts on a message that dies are dead with it, and are replayed with it in their order", async () => {
  const message = await say("ada", "hello");
  const edited = await act("ada", message, edit("hello!"));
  const reacted = await act("bob", message, REACTION);
  const next = await say("bob", "next");
  homeserver.refuse(/send/, "permanent");
  await drain();

  expect(await statuses()).toEqual([
    "text dead refused",
    "edit dead target_dead",
    "reaction dead target_dead",
    "text queued open",
  ]);
  expect(await reports()).toEqual([
    ["message.failed", "message", message, "refused"],
    ["message.failed", "edit", message, "target_dead"],
    ["message.failed", "reaction", message, "target_dead"],
  ]);
  await drain();
  const [state] = await place.sql<{ revision: string; last: string }>(
    `select s.revision, (select max(number) from timeline e where e.room_id = s.room_id and e.content ->> 'act' = 'message') as last
       from message_states s where s.message_id = ?`,
    [message],
  );
  expect(state?.revision).toBe(state?.last);

  await replay([message]);
  await drain();

  expect(done().slice(1)).toEqual([`send ${next}`, `send ${message}`, `send ${edited}`, `send ${reacted}`]);
  expect((await reports()).slice(3)).toEqual([
    ["message.requeued", "message", message, null],
    ["message.requeued", "edit", message, null],
    ["message.requeued", "reaction", message, null],
  ]);
});

test("a reaction that was removed since is not replayed", async () => {
  const message = await say("ada", "hello");
  await drain();
  const reacted = await act("bob", message, REACTION);
  homeserver.refuse(/m\.reaction/, "permanent");
  await drain();
  await act("bob", message, UNREACTION);
  await drain();

  await replay([reacted]);
  await drain();

  expect(await statuses()).toEqual(["text sent open", "reaction dead refused", "unreaction sent"]);
  expect(done()).toEqual([`send ${message}`, `send ${reacted}`]);
});

/** The homeserver refuses the next sending as Synapse does when it does not know the event of a relation. */
function refuseRelation(): void {
  homeserver.fail(/send/, new MatrixFailure("unclear", { errcode: "M_UNKNOWN", httpStatus: 400 }));
}

test("an act is dead when the homeserver does not have its message, and waits when it only says so", async () => {
  const message = await say("ada", "hello");
  await drain();
  await act("bob", message, REACTION);
  refuseRelation();
  homeserver.answer(/\/event\//, {});

  expect((await drain()).retryInMs).toBeGreaterThan(0);
  expect(await statuses()).toEqual(["text sent open", "reaction sending open"]);

  await becomeDue();
  refuseRelation();
  homeserver.refuse(/\/event\//, "missing");
  await drain();

  expect(await statuses()).toEqual(["text sent open", "reaction dead target_dead"]);
});

test("a redaction that the homeserver refuses since the event is of a former room is done", async () => {
  const message = await say("ada", "hello");
  await drain();
  await act("ada", message, DELETION);
  homeserver.fail(/redact/, new MatrixFailure("unclear", { errcode: "M_UNKNOWN", httpStatus: 400 }));
  homeserver.refuse(/\/event\//, "missing");

  await drain();

  expect(await statuses()).toEqual(["text sent open", "deletion sent"]);
});

test("after a crash before the mark, every call of an act is repeated under its transaction id", async () => {
  const message = await say("ada", "hello");
  const edited = await act("ada", message, edit("hello!"));
  await drain();
  const deleted = await act("ada", message, DELETION);
  const crash = drain({
    hitFailpoint: () => {
      throw new Error("crashed");
    },
  });
  await expect(crash).rejects.toThrow("crashed");
  await becomeDue();

  await drain();

  const redactions = [
    `redact ${edited} as ${furtherTransactionId(deleted, eventOf(edited))}`,
    `redact ${message} as ${deleted}`,
  ];
  expect(done().slice(2)).toEqual([...redactions, ...redactions]);
  expect((await statuses())[2]).toBe("deletion sent open");
});

test("a deletion whose redaction of an edit fails has not made its own event, and is tried again as a whole", async () => {
  const message = await say("ada", "secret");
  const edited = await act("ada", message, edit("secret too"));
  await drain();
  const deleted = await act("ada", message, DELETION);
  homeserver.fail(/redact/, new MatrixFailure("transient", { errcode: "no answer", httpStatus: null }));
  await drain();
  expect(done()).not.toContain(`redact ${message} as ${deleted}`);
  await becomeDue();

  await drain();

  expect(done().slice(-2)).toEqual([
    `redact ${edited} as ${furtherTransactionId(deleted, eventOf(edited))}`,
    `redact ${message} as ${deleted}`,
  ]);
});

test("the observer's own refusal is no verdict on a deletion: it waits", async () => {
  const message = await say("ada", "spam");
  await drain();
  await upsertMembers(place.db, place.tenantId, room.id, [
    { userId: await place.userId("mod"), role: "moderator" },
  ]);
  await act("mod", message, DELETION);
  homeserver.refuse(/redact/, "account");

  expect((await drain()).retryInMs).toBeGreaterThan(0);

  expect((await statuses())[1]).toBe("deletion sending open");
});

test("an act that the homeserver refuses for good stays here and is no deletion of its message", async () => {
  await setTenantLimits(place.db, "acme", { onRefused: "hide" });
  const message = await say("ada", "hello");
  await drain();
  await act("bob", message, REACTION);
  homeserver.refuse(/m\.reaction/, "permanent");

  await drain();
  await setTenantLimits(place.db, "acme", {});

  expect(await statuses()).toEqual(["text sent open", "reaction dead refused"]);
  expect(await reports()).toEqual([["message.failed", "reaction", message, "refused"]]);
  expect(
    await place.sql("select 1 from timeline where room_id = ? and redacted_at is not null", [room.id]),
  ).toEqual([]);
});

test("an edit that the homeserver refuses for good is taken back where the tenant hides what is refused", async () => {
  await setTenantLimits(place.db, "acme", { onRefused: "hide" });
  const message = await say("ada", "hello");
  await drain();
  const texts = async () => {
    const row = await findTimelineMessage(place.db, place.tenantId, room.id, message);
    const kept = await place.sql<{ text: string }>(
      "select content ->> 'text' as text from messages where room_id = ? order by order_number",
      [room.id],
    );
    return [row && presentTimelineMessage(row).text, ...kept.map(({ text }) => text)];
  };
  await act("ada", message, edit("first edit"));
  await drain();
  const bad = await act("ada", message, edit("spam"));
  expect(await texts()).toEqual(["spam", "hello", "first edit", "spam"]);
  homeserver.refuse(new RegExp(bad), "permanent");

  await drain();
  await setTenantLimits(place.db, "acme", {});

  expect(await statuses()).toEqual(["text sent open", "edit sent open", "edit dead refused"]);
  expect(await texts()).toEqual(["first edit", "hello", "first edit", ""]);
  const rows = await listEntriesAfter(place.db, { roomId: room.id, position: 0, lastNumber: 99 }, 99);
  expect(rows.map(presentEntry).slice(-2)).toMatchObject([
    { type: "message.failed", act: "edit", message, error: { code: "refused" } },
    { type: "message.edited", by: { user: null }, message: { id: message, text: "first edit", number: 1 } },
  ]);
  await replay([bad]);
  expect(await statuses()).toContain("edit dead refused");
});

/** Replays rows as the program for operators does. */
async function replay(ids: readonly string[]): Promise<void> {
  const fence = newFence();
  const key = { tenantId: place.tenantId, roomId: room.id, fence, claim: 0 };
  expect(await acquireRoomLease(place.db, key)).not.toBeNull();
  expect(await replayMessages(place.db, room.id, fence, ids)).not.toBeNull();
  await releaseRoomLease(place.db, room.id, fence, null);
}

test("a message that its sender wants sent again comes before what waits, and its acts follow it", async () => {
  const message = await say("ada", "hello");
  const edited = await act("ada", message, edit("hello!"));
  homeserver.refuse(/send/, "account");
  await drain();
  const waiting = await say("bob", "behind");
  expect(await statuses()).toEqual(["text dead forbidden", "edit dead target_dead", "text queued open"]);
  expect(await wantRetry(place.db, { tenantId: place.tenantId, roomId: room.id, id: message })).toBe(true);

  expect(await drain()).toEqual({ retryInMs: 0 });
  expect(await statuses()).toEqual(["text queued open", "edit queued open", "text queued open"]);
  await drain();

  expect(done().slice(1)).toEqual([`send ${message}`, `send ${edited}`, `send ${waiting}`]);
  expect(await place.sql("select 1 from messages where retry_wanted and room_id = ?", [room.id])).toEqual([]);
});

test("a drain that runs when a sender wants a message again leaves the room due", async () => {
  const message = await say("ada", "hello");
  homeserver.refuse(/send/, "account");
  await drain();
  await say("ada", "next");
  homeserver.meanwhile = async (path) => {
    homeserver.meanwhile = () => Promise.resolve();
    expect(path).not.toBe("");
    await wantRetry(place.db, { tenantId: place.tenantId, roomId: room.id, id: message });
  };

  await drain();

  const [row] = await place.sql<{ is_due: boolean }>(
    "select next_attempt_at <= now() as is_due from room_outbox where room_id = ?",
    [room.id],
  );
  expect(row?.is_due).toBe(true);
  await drain();
  await drain();
  expect(await statuses()).toEqual(["text sent open", "text sent open"]);
});
