import { describe, expect, test } from "@jest/globals";
import type { Publication } from "../../shared/contract/frames.ts";
import { EMPTY_VIEW, mergePage, reduce, type RoomView } from "../../shared/contract/reduce.ts";
import type { MessageResource, Person } from "../../shared/contract/resources.ts";

const at = "2026-01-01T00:00:00.000Z";
const ada: Person = { ref: "r-ada", user: "ada", displayName: "Ada", avatar: null };
const ID = "01a20674-1cd1-7305-9bc7-0e60f67e492b";
const OTHER = "01a20674-1cd1-7305-9bc7-0e60f67e492c";

function message(number: number, more: Partial<MessageResource> = {}): MessageResource {
  return {
    ...{ id: ID, room: "group:g", number, revision: number, clientId: null, sender: ada, at },
    ...{ kind: "text", text: "hello", format: "plain", html: null, media: null },
    ...{ mentions: { users: [], room: false }, replyTo: null, reactions: [], pinned: false },
    ...{ editedAt: null, status: "queued", error: null, deletedAt: null, deletedBy: null, reason: null },
    ...more,
  };
}

const about = (number: number) => ({ room: "group:g", number, at, message: ID });
const created = (number: number, more?: Partial<MessageResource>): Publication => ({
  type: "message.created",
  ...message(number, more),
});
const edited = (number: number, text: string, revision = number): Publication => ({
  ...{ type: "message.edited", room: "group:g", number, at, by: ada },
  message: message(1, { text, revision, editedAt: at }),
});
const deleted = (number: number): Publication => ({
  ...{ type: "message.deleted", ...about(number), by: ada, reason: "spam" },
});
const reacted = (number: number, key: string, count: number): Publication => ({
  ...{ type: count > 0 ? "reaction.added" : "reaction.removed", ...about(number), by: ada },
  ...{ key, count, users: count > 0 ? ["ada"] : [] },
});

function replay(events: readonly Publication[], from: RoomView = EMPTY_VIEW): RoomView {
  return events.reduce(reduce, from);
}

const held = (view: RoomView, id = ID) => view.messages.get(id);

describe("a message that a client holds", () => {
  test("is shown as its last edit says", () => {
    const view = replay([created(1), edited(2, "second"), edited(3, "third")]);
    expect(held(view)).toMatchObject({ text: "third", revision: 3, number: 1 });
    expect(view.lastNumber).toBe(3);
  });

  test("loses all it holds when it is deleted", () => {
    const view = replay([created(1), reacted(2, "👍", 1), deleted(3)]);
    expect(held(view)).toMatchObject({
      ...{ text: "", reactions: [], deletedAt: at, deletedBy: ada, reason: "spam", revision: 3 },
    });
  });

  test("keeps its reactions in the order in which they last rose from none", () => {
    const events = [reacted(2, "a", 1), reacted(3, "b", 1), reacted(4, "a", 2), reacted(5, "a", 0)];
    expect(held(replay([created(1), ...events, reacted(6, "a", 1)]))?.reactions).toMatchObject([
      { key: "b", count: 1 },
      { key: "a", count: 1 },
    ]);
  });

  test("is marked when Matrix refuses it, and not when Matrix refuses an act on it", () => {
    const error = { code: "refused", message: "no" };
    const failed = (number: number, act: "message" | "edit"): Publication => ({
      ...{ type: "message.failed", ...about(number), act, error },
    });
    expect(held(replay([created(1), failed(2, "edit")]))).toMatchObject({ status: "queued", revision: 1 });
    const dead = replay([created(1), failed(2, "message")]);
    expect(held(dead)).toMatchObject({ status: "dead", error });
    const again: Publication = { type: "message.requeued", ...about(3), act: "message", error: null };
    expect(held(reduce(dead, again))).toMatchObject({ status: "queued", error: null });
  });
});

describe("an act that comes again", () => {
  test("changes nothing that a newer page contains", () => {
    const page = mergePage(EMPTY_VIEW, [message(1, { text: "third", revision: 4, editedAt: at })]);
    const view = replay([created(1), edited(2, "second"), reacted(3, "👍", 1), edited(4, "third")], page);
    expect(held(view)).toEqual(held(page));
  });

  test("changes nothing that was deleted since", () => {
    const gone = message(1, { text: "", revision: 5, deletedAt: at, deletedBy: ada });
    const page = mergePage(EMPTY_VIEW, [gone]);
    // The text of an entry whose message is deleted is not published any more.
    const stub: Publication = { type: "message.deleted", ...about(1), by: ada, reason: null, stub: gone };
    expect(held(replay([stub, deleted(2), reacted(3, "👍", 1), deleted(5)], page))).toEqual(gone);
    expect(held(replay([stub, deleted(2), reacted(3, "👍", 1)]))).toEqual(gone);
  });

  test("is ignored where its message is not held", () => {
    const view = replay([edited(2, "second"), deleted(3), reacted(4, "👍", 1)]);
    expect([view.messages.size, view.lastNumber]).toEqual([0, 4]);
  });

  test("does not bring back an older page", () => {
    const view = mergePage(replay([created(1), edited(2, "second")]), [message(1)]);
    expect(held(view)).toMatchObject({ text: "second" });
  });
});

test("an answer shows its message's newest text, and none once that is deleted", () => {
  const replyTo = { id: ID, number: 1, sender: ada, text: "hello", deleted: false };
  const answer = created(2, { id: OTHER, replyTo });
  const long = "é".repeat(300);
  const shown = replay([created(1), answer, edited(3, long)]);
  expect(held(shown, OTHER)?.replyTo?.text).toBe("é".repeat(200));
  const gone = reduce(shown, deleted(4));
  expect(held(gone, OTHER)?.replyTo).toMatchObject({ text: "", deleted: true });
  // Also where the answered message itself is not held.
  expect(held(replay([answer, deleted(4), edited(3, "late")]), OTHER)?.replyTo).toMatchObject({ text: "" });
});

test("what is no entry of the timeline changes nothing", () => {
  const view = replay([created(1)]);
  expect(reduce(view, { type: "sent", room: "group:g", number: 9 })).toBe(view);
  expect(reduce(view, { type: "room.removed", room: "group:g" })).toBe(view);
});
