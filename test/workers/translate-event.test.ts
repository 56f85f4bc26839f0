import { expect, test } from "@jest/globals";
import { externalEntryId } from "../../shared/platform/ids.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import {
  nameKey,
  translateEvent,
  type EventContext,
  type MarkedMessage,
} from "../../workers/inbound/translate-event.ts";
import { planSync } from "../../workers/inbound/sync-plan.ts";

const room = "01990000-0000-7000-8000-000000000001";
const otherRoom = "01990000-0000-7000-8000-000000000002";
const ada = "01990000-0000-7000-8000-00000000000a";
const adaId = "@omc_ada:test";
const stranger = "@outsider:test";

const message: MarkedMessage = {
  id: "01990000-0000-7000-8000-0000000000aa",
  room_id: room,
  sender_id: ada,
  sender_matrix_id: adaId,
  client_id: "c-1",
  content: { text: "as accepted" },
  accepted_at: new Date("2026-01-01T00:00:00.000Z"),
  timeline_number: null,
  event_id: null,
};

const facts: EventContext = {
  userIds: new Map([[adaId, ada]]),
  observerMatrixId: "@omc_observer:test",
  names: new Map([[nameKey(room, stranger), "Mallory"]]),
  messages: new Map([[message.id, message]]),
};

let count = 0;
function event(given: Partial<MatrixEvent>): MatrixEvent {
  count++;
  return {
    event_id: `$event${count}`,
    type: "m.room.message",
    sender: adaId,
    origin_server_ts: 1_000,
    content: {},
    ...given,
  };
}

function text(body: unknown, more: Record<string, unknown> = {}): Partial<MatrixEvent> {
  return { content: { msgtype: "m.text", body, ...more } };
}

test("our own message comes back as what was accepted, and is settled", () => {
  const echo = event(text("as Matrix has it", { [MARKER]: message.id }));
  expect(translateEvent(room, echo, facts)).toEqual({
    kind: "message",
    entry: {
      entryId: message.id,
      eventId: echo.event_id,
      type: "message.created",
      senderId: ada,
      senderName: null,
      clientId: "c-1",
      content: { text: "as accepted" },
      at: message.accepted_at,
    },
    settles: message.id,
    isForged: false,
  });
});

test.each([
  ["in another room", otherRoom, {}, message.id],
  ["by another sender", room, { sender: stranger }, message.id],
  ["of a message that does not exist", room, {}, "01990000-0000-7000-8000-0000000000ff"],
  ["that is no id", room, {}, { nested: true }],
])("a mark %s settles nothing: it is somebody's text like any other", (_, where, more, marker) => {
  const forged = event({ ...text("forged", { [MARKER]: marker }), ...more });
  const translation = translateEvent(where, forged, facts);
  expect(translation).toMatchObject({ kind: "message", settles: null, isForged: true });
  expect(translation).toMatchObject({
    entry: { entryId: externalEntryId(where, forged.event_id), content: { text: "forged" } },
  });
});

test("a second event of a message that is told already is a double; the first, read again, is not", () => {
  const told = { ...message, timeline_number: 7, event_id: "$first" };
  const toldFacts = { ...facts, messages: new Map([[message.id, told]]) };
  const marked = text("again", { [MARKER]: message.id });
  expect(translateEvent(room, event({ ...marked, event_id: "$second" }), toldFacts)).toEqual({
    kind: "double",
    eventId: "$second",
  });
  expect(translateEvent(room, event({ ...marked, event_id: "$first" }), toldFacts)).toMatchObject({
    kind: "message",
    settles: message.id,
  });
});

test("a stranger has the name that Matrix knows, or none of theirs; never a Matrix id", () => {
  const named = translateEvent(room, event({ ...text("hi"), sender: stranger }), facts);
  const nameless = translateEvent(otherRoom, event({ ...text("hi"), sender: stranger }), facts);
  expect(named).toMatchObject({ entry: { senderId: null, senderName: "Mallory" } });
  expect(nameless).toMatchObject({ entry: { senderId: null, senderName: expect.not.stringContaining(":") } });
});

test("the same event always is the same entry, another event another", () => {
  const one = event(text("hi"));
  expect(translateEvent(room, one, facts)).toEqual(translateEvent(room, one, facts));
  expect(externalEntryId(room, "$a")).not.toBe(externalEntryId(room, "$b"));
  expect(externalEntryId(room, "$a")).not.toBe(externalEntryId(otherRoom, "$a"));
});

test("what Postgres and browsers cannot keep is made safe", () => {
  const translation = translateEvent(room, event(text("a\u0000b\ud800c")), facts);
  expect(translation).toMatchObject({ entry: { content: { text: "ab\ufffdc" } } });
});

test.each([
  ["a body that is no text", text(42)],
  ["an empty body", text("")],
  ["a body of NULs alone", text("\u0000\u0000")],
  ["no body at all", {}],
  ["a kind that is not told yet", { content: { msgtype: "m.image", body: "cat.png" } }],
  ["an edit", text("* new", { "m.relates_to": { rel_type: "m.replace", event_id: "$x" } })],
  ["an unknown type", { type: "org.example.poll", ...text("?") }],
  [
    "a stranger's going",
    { type: "m.room.member", sender: stranger, state_key: stranger, content: { membership: "leave" } },
  ],
  [
    "the observer's coming",
    { type: "m.room.member", state_key: facts.observerMatrixId, content: { membership: "join" } },
  ],
  ["an invitation of ours", { type: "m.room.member", state_key: adaId, content: { membership: "invite" } }],
])("%s tells nothing", (_, given) => {
  expect(translateEvent(room, event(given), facts)).toEqual({ kind: "nothing" });
});

test.each([
  ["join", "in"],
  ["leave", "out"],
  ["ban", "out"],
] as const)("a %s of one of ours shows who is on Matrix: %s", (membership, applied) => {
  const member = event({ type: "m.room.member", state_key: adaId, content: { membership } });
  expect(translateEvent(room, member, facts)).toEqual({ kind: "membership", userId: ada, applied });
});

test.each(["invite", "join"])("an %s of somebody whom the tenant does not know is noticed", (membership) => {
  const coming = event({ type: "m.room.member", state_key: stranger, content: { membership } });
  expect(translateEvent(room, coming, facts)).toEqual({ kind: "stranger" });
});

test.each([
  ["m.room.power_levels", "levels"],
  ["m.room.name", "description"],
  ["m.room.topic", "description"],
  ["m.room.avatar", "description"],
])("a %s by anybody but the observer is drift of the %s", (type, what) => {
  expect(translateEvent(room, event({ type, state_key: "" }), facts)).toEqual({ kind: "drift", what });
  const ours = event({ type, state_key: "", sender: facts.observerMatrixId });
  expect(translateEvent(room, ours, facts)).toEqual({ kind: "nothing" });
});

test("a room that somebody encrypts is noticed", () => {
  for (const type of ["m.room.encryption", "m.room.encrypted"]) {
    expect(translateEvent(room, event({ type }), facts)).toEqual({ kind: "encrypted" });
  }
});

test("of two events of one message that come together the second is a double; the same event twice is not", () => {
  const first = event(text("mine", { [MARKER]: message.id }));
  const second = event(text("mine", { [MARKER]: message.id }));
  const events = [first, event(text("between")), second, first];
  const meaning = planSync([{ roomId: room, matrixRoomId: "!room:here", events }], facts);
  expect(meaning.duplicates).toEqual([{ roomId: room, eventId: second.event_id }]);
  expect(new Set(meaning.settled.map(({ eventId }) => eventId))).toEqual(new Set([first.event_id]));
  const ids = meaning.entries.flatMap(({ entries }) => entries.map(({ eventId }) => eventId));
  expect(ids).not.toContain(second.event_id);
});

test("many rooms' events are sorted by what is to be done, in the order they came", () => {
  const own = event(text("mine", { [MARKER]: message.id }));
  const meaning = planSync(
    [
      {
        roomId: room,
        matrixRoomId: "!room:here",
        events: [event(text("one")), own, event({ ...text("x", { [MARKER]: "y" }), sender: stranger })],
      },
      {
        roomId: otherRoom,
        matrixRoomId: "!room:here",
        events: [event({ type: "m.room.name", state_key: "" }), event({ type: "m.room.encrypted" })],
      },
    ],
    facts,
  );
  expect(
    meaning.entries.map(({ roomId, entries }) => [roomId, entries.map(({ content }) => content["text"])]),
  ).toEqual([[room, ["one", "as accepted", "x"]]]);
  expect(meaning.settled).toEqual([{ messageId: message.id, eventId: own.event_id, roomId: room }]);
  expect(meaning).toMatchObject({
    forged: 1,
    configurationDrifts: [{ roomId: otherRoom, what: "description" }],
    encrypted: [otherRoom],
  });
});
