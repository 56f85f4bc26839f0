import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { ActContent } from "../../shared/contract/content/acts.ts";
import type { MessageResource } from "../../shared/contract/resources.ts";
import {
  appendMatrixAct,
  appendRedaction,
  type MatrixAct,
  type MatrixOutcome,
} from "../../shared/db/acts/append-matrix-act.ts";
import { transactPipelined } from "../../shared/db/connection/pipelined-transaction.ts";
import type { Room } from "../../shared/db/rooms/rooms.ts";
import { lockTimeline } from "../../shared/db/timeline/append.ts";
import { findTimelineMessage, listEntriesAfter } from "../../shared/db/timeline/pages.ts";
import { newId, personRef } from "../../shared/platform/ids.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { presentTimelineMessage } from "../../shared/timeline/present/message.ts";
import { presentEntry } from "../../shared/timeline/read.ts";
import { externalEntry, openWorkplace, type Workplace } from "../support/stack-workplace.ts";

let place: Workplace;

beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place.close());

let rooms = 0;

/** A room with ada and bob as members and mia as a moderator, and a message of ada. */
async function begin(): Promise<{ room: Room; id: string }> {
  const key = `group:acts-${++rooms}`;
  const room = await place.room(key, ["ada", "bob"]);
  await place.sql(
    "insert into memberships (room_id, user_id, tenant_id, role, desired) values (?, ?, ?, 'moderator', 'in')",
    [room.id, await place.userId("mia"), place.tenantId],
  );
  const [message] = await place.accept(room, "ada", "hello");
  return { room, id: message?.id ?? "" };
}

async function read(room: Room, id: string): Promise<MessageResource> {
  const row = await findTimelineMessage(place.db, place.tenantId, room.id, id);
  if (!row) throw new Error("no such message");
  return presentTimelineMessage(row);
}

async function publications(room: Room) {
  const rows = await listEntriesAfter(place.db, { roomId: room.id, position: 0, lastNumber: 1_000 }, 1_000);
  return rows.map(presentEntry);
}

const deletion: ActContent = { kind: "deletion", reason: "spam" };
const reaction = (key: string): ActContent => ({ kind: "reaction", key });
const edit = (text: string): ActContent => ({
  ...{ kind: "edit", of: "text", text, format: "plain", html: null },
  mentions: { users: [], room: false },
});

/** What a person on Matrix does; an unknown one without a user. */
async function onMatrix(
  room: Room,
  kind: "deletion" | "edit" | "reaction",
  targetEventId: string,
  given: { user?: string; name?: string; content?: ActContent; eventId?: string; at?: string } = {},
): Promise<MatrixOutcome> {
  const userId = given.user === undefined ? null : await place.userId(given.user);
  const name = userId === null ? (given.name ?? "Mallory") : null;
  const act: MatrixAct = {
    ...{ roomId: room.id, eventId: given.eventId ?? `$${newId()}`, targetEventId, kind, userId, name },
    content: given.content ?? deletion,
    senderMatrixId: "@somebody:test",
    ref: userId ?? personRef(`@${name ?? ""}:test`, place.tenantId),
    at: given.at ?? new Date().toISOString(),
  };
  const statements =
    act.kind === "deletion" ? appendRedaction({ ...act, kind: act.kind }) : [appendMatrixAct(act)];
  const [, ...results] = await transactPipelined<[unknown[], ...MatrixOutcome[][]]>(place.db, [
    lockTimeline(room.id),
    ...statements,
  ]);
  const [outcome] = results.flat();
  if (!outcome) throw new Error("no outcome");
  return outcome;
}

test("a deletion by the author leaves no text in the tables, and is not sent when the message was never tried", async () => {
  const { room, id } = await begin();
  expect(await place.act(room, "ada", id, edit("hello, corrected"))).toMatchObject({ outcome: "done" });
  expect(await place.act(room, "bob", id, reaction("👍"))).toMatchObject({ outcome: "done" });
  const done = await place.act(room, "ada", id, deletion);
  expect(done).toMatchObject({ outcome: "done", entry: { scrubs: 1, number: 4 } });
  expect(await read(room, id)).toMatchObject({
    ...{ text: "", revision: 4, status: "dead", error: { code: "deleted" }, reactions: [] },
    ...{ deletedBy: { user: "ada" }, reason: "spam", editedAt: null },
  });
  const rows = await place.sql<{
    content: unknown;
    status: string;
    open: boolean;
    error_code: string | null;
  }>("select content, status, open, error_code from messages where room_id = ? order by order_number", [
    room.id,
  ]);
  expect(rows.map(({ status, open, error_code }) => [status, open, error_code])).toEqual([
    ["dead", false, "deleted"],
    ["dead", false, "target_deleted"],
    ["dead", false, "target_deleted"],
    ["sent", false, null],
  ]);
  expect(JSON.stringify(rows)).not.toContain("hello");
  expect(
    JSON.stringify(await place.sql("select * from timeline where room_id = ?", [room.id])),
  ).not.toContain("hello");
  expect((await publications(room)).map(({ type }) => type)).toEqual([
    ...["message.deleted", "message.deleted", "message.deleted", "message.deleted"],
  ]);
  const [counts] = await place.sql<{ waiting: number }>(
    `select accepted_count - closed_count as waiting from room_outbox join room_mirrors using (room_id) where room_id = ?`,
    [room.id],
  );
  expect(Number(counts?.waiting)).toBe(0);
});

test("a deletion by a moderator is carried out by the observer, of a message that may be on Matrix behind it", async () => {
  const { room, id } = await begin();
  await place.sql("update messages set status = 'sending' where id = ?", [id]);
  const done = await place.act(room, "mia", id, deletion);
  if (done.outcome !== "done") throw new Error(done.outcome);
  expect(
    await place.sql("select acts_as, status, open, target_id from messages where id = ?", [done.id]),
  ).toEqual([{ acts_as: "observer", status: "queued", open: true, target_id: id }]);
  expect(await read(room, id)).toMatchObject({ text: "", status: "sending", deletedBy: { user: "mia" } });
  expect(await place.act(room, "mia", id, deletion)).toEqual({ outcome: "unchanged" });
});

test("acts are refused by role, message and state", async () => {
  const { room, id } = await begin();
  expect(await place.act(room, "bob", id, deletion)).toEqual({ outcome: "may_not_act" });
  expect(await place.act(room, "mia", id, edit("mine now"))).toEqual({ outcome: "may_not_act" });
  expect(await place.act(room, "ada", newId(), deletion)).toEqual({ outcome: "no_such_message" });
  expect(await place.act(room, "eve", id, deletion)).toEqual({ outcome: "no_such_room" });
  await place.act(room, "ada", id, deletion);
  expect(await place.act(room, "bob", id, reaction("👍"))).toEqual({ outcome: "target_deleted" });
});

test("an edit shows its text and keeps the message's number", async () => {
  const { room, id } = await begin();
  await place.act(room, "ada", id, edit("second"));
  await place.act(room, "ada", id, edit("third"));
  expect(await read(room, id)).toMatchObject({ text: "third", number: 1, revision: 3 });
  expect((await publications(room)).slice(1)).toMatchObject([
    { type: "message.edited", number: 2, message: { id, text: "third", revision: 3 } },
    { type: "message.edited", number: 3, by: { user: "ada" }, message: { id, text: "third" } },
  ]);
});

test("reactions count people once, name the known ones, and end with the last wish", async () => {
  const { room, id } = await begin();
  await place.act(room, "bob", id, reaction("👍"));
  await place.act(room, "ada", id, reaction("👍"));
  expect(await place.act(room, "ada", id, reaction("👍"))).toEqual({ outcome: "unchanged" });
  await place.act(room, "ada", id, reaction("🎉"));
  expect((await read(room, id)).reactions).toEqual([
    { key: "👍", count: 2, users: ["bob", "ada"] },
    { key: "🎉", count: 1, users: ["ada"] },
  ]);
  await place.act(room, "bob", id, { kind: "unreaction", key: "👍" });
  await place.act(room, "ada", id, { kind: "unreaction", key: "🎉" });
  expect(await place.act(room, "ada", id, { kind: "unreaction", key: "🎉" })).toEqual({
    outcome: "unchanged",
  });
  expect((await read(room, id)).reactions).toEqual([{ key: "👍", count: 1, users: ["ada"] }]);
  expect((await publications(room)).slice(1)).toMatchObject([
    { type: "reaction.added", key: "👍", count: 1, users: ["bob"], by: { user: "bob" }, message: id },
    { type: "reaction.added", key: "👍", count: 2, users: ["bob", "ada"] },
    { type: "reaction.added", key: "🎉", count: 1 },
    { type: "reaction.removed", key: "👍", count: 1, users: ["ada"] },
    { type: "reaction.removed", key: "🎉", count: 0, users: [] },
  ]);
});

test("a person has at most 20 keys on a message", async () => {
  const { room, id } = await begin();
  for (let key = 0; key < 20; key++) await place.act(room, "bob", id, reaction(`k${key}`));
  expect(await place.act(room, "bob", id, reaction("one more"))).toEqual({ outcome: "too_many" });
  expect(await place.act(room, "ada", id, reaction("k1"))).toMatchObject({ outcome: "done" });
});

test("acts from Matrix find their message by its event, and wait where it is not there yet", async () => {
  const { room } = await begin();
  const event = externalEntry("from Matrix");
  const target = event.eventId ?? "";
  expect(await onMatrix(room, "reaction", target, { content: reaction("👋") })).toEqual({
    ...{ outcome: "parked", id: null },
  });
  expect(await place.sql("select target_event_id from waiting_acts where room_id = ?", [room.id])).toEqual([
    { target_event_id: target },
  ]);
  const ada = await place.userId("ada");
  await place.db.transaction((trx) =>
    appendEntries(trx, [{ roomId: room.id, entries: [{ ...event, senderId: ada, senderName: null }] }]),
  );
  const eventId = "$reaction";
  const given = { content: reaction("👋"), user: "bob", eventId };
  expect(await onMatrix(room, "reaction", target, given)).toMatchObject({ outcome: "done" });
  expect(await onMatrix(room, "reaction", target, given)).toMatchObject({ outcome: "unchanged" });
  expect(await onMatrix(room, "reaction", target, { ...given, eventId: "$twice" })).toMatchObject({
    outcome: "unchanged",
  });
  expect((await read(room, event.entryId)).reactions).toEqual([{ key: "👋", count: 1, users: ["bob"] }]);
  expect(await onMatrix(room, "deletion", "$twice", { user: "bob" })).toMatchObject({ outcome: "unchanged" });
  expect(await onMatrix(room, "deletion", eventId, { user: "bob" })).toMatchObject({ outcome: "done" });
  expect((await read(room, event.entryId)).reactions).toEqual([]);
  // A rereading brings it again.
  expect(await onMatrix(room, "reaction", target, given)).toMatchObject({ outcome: "unchanged" });

  expect(await onMatrix(room, "edit", target, { user: "bob", content: edit("not mine") })).toMatchObject({
    outcome: "refused",
  });
  const [newer, older] = ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"];
  await onMatrix(room, "edit", target, { user: "ada", content: edit("newer"), at: newer, eventId: "$newer" });
  await onMatrix(room, "edit", target, { user: "ada", content: edit("older"), at: older });
  expect(await read(room, event.entryId)).toMatchObject({ text: "newer" });
  expect(await onMatrix(room, "deletion", "$newer", { user: "ada" })).toMatchObject({ outcome: "done" });
  expect(await read(room, event.entryId)).toMatchObject({ text: "older", deletedAt: null });
  expect(await onMatrix(room, "deletion", target, { name: "Admin" })).toMatchObject({ outcome: "done" });
  expect(await read(room, event.entryId)).toMatchObject({
    ...{ text: "", deletedBy: { user: null, displayName: "Admin" } },
  });
  expect(await onMatrix(room, "deletion", target, { user: "ada" })).toMatchObject({ outcome: "unchanged" });
  const [state] = await place.sql("select scrubs from room_timeline where room_id = ?", [room.id]);
  expect(state).toEqual({ scrubs: 2 });
});
