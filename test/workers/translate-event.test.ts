import { describe, expect, test } from "@jest/globals";
import { externalEntryId } from "../../shared/platform/ids.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { nameKey, translateEvent, type EventContext } from "../../workers/inbound/translate-event.ts";
import type { MarkedMessage } from "../../shared/db/observers/find-named.ts";
import { planSync } from "../../workers/inbound/sync-plan.ts";

const room = "01990000-0000-7000-8000-000000000001";
const otherRoom = "01990000-0000-7000-8000-000000000002";
const ada = "01990000-0000-7000-8000-00000000000a";
const adaId = "@omc_ada:test";
const unknownUser = "@outsider:test";

const message: MarkedMessage = {
  id: "01990000-0000-7000-8000-0000000000aa",
  room_id: room,
  sender_id: ada,
  sender_matrix_id: adaId,
  client_id: "c-1",
  content: { text: "as accepted" },
  accepted_at: new Date("2026-01-01T00:00:00.000Z"),
  number: 3,
  event_id: null,
  status: "queued",
};

const context: EventContext = {
  userIds: new Map([[adaId, ada]]),
  observerMatrixId: "@omc_observer:test",
  names: new Map([[nameKey(room, unknownUser), "Mallory"]]),
  messages: new Map([[message.id, message]]),
  messagesByEvent: new Map(),
  redactedStates: new Map(),
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

const marked = (body: string, marker: unknown = message.id) => text(body, { [MARKER]: marker });

test("an event with the marker, room, sender, kind and content of a message of ours is that message", () => {
  expect(translateEvent(room, event(marked("as accepted")), context)).toEqual({
    kind: "own",
    message,
    isPruned: false,
  });
});

test.each([
  ["in another room", otherRoom, {}, message.id],
  ["by another sender", room, { sender: unknownUser }, message.id],
  ["of another kind", room, { type: "m.sticker" }, message.id],
  ["of a message that does not exist", room, {}, "01990000-0000-7000-8000-0000000000ff"],
  ["that is no id", room, {}, { nested: true }],
])("a marker %s is not ours", (_, where, more, marker) => {
  const forged = event({ ...marked("as accepted", marker), ...more });
  const translation = translateEvent(where, forged, context);
  if (forged.type !== "m.room.message") return void expect(translation).toEqual({ kind: "nothing" });
  expect(translation).toMatchObject({ kind: "message", isForged: true });
  expect(translation).toMatchObject({
    entry: { entryId: externalEntryId(where, forged.event_id), content: { text: "as accepted" } },
  });
});

test.each([
  ["another text", marked("something else")],
  [
    "a formatted text beside it",
    { content: { ...marked("as accepted").content, formatted_body: "<b>as</b>" } },
  ],
  ["another message type", { content: { ...marked("as accepted").content, msgtype: "m.emote" } }],
])("the same person's marker with %s is that person's own new text", (_, given) => {
  const translation = translateEvent(room, event(given), context);
  expect(translation).not.toMatchObject({ kind: "own" });
  if (translation.kind === "message")
    expect(translation).toMatchObject({ isForged: true, entry: { senderId: ada } });
});

describe("a message that has an event", () => {
  const answered = { ...message, event_id: "$first" };
  const given = {
    ...context,
    messages: new Map([[message.id, answered]]),
    messagesByEvent: new Map([["$first", answered]]),
  };

  test("is that event, also with changed content, and when it has none any more", () => {
    const own = { kind: "own", message: answered, isPruned: false };
    const changed = event({ ...text("changed by a module"), event_id: "$first" });
    expect(translateEvent(room, changed, given)).toEqual(own);
    const pruned = event({ content: {}, event_id: "$first" });
    expect(translateEvent(room, pruned, given)).toEqual({ ...own, isPruned: true });
  });

  test("has a duplicate in any other event that is the message, and none in what is not", () => {
    expect(translateEvent(room, event({ ...marked("as accepted"), event_id: "$second" }), given)).toEqual({
      kind: "duplicate",
      eventId: "$second",
      messageId: message.id,
    });
    expect(translateEvent(room, event(marked("forged")), given)).toMatchObject({
      kind: "message",
      isForged: true,
    });
  });

  test("is not an event of that id in another room", () => {
    const elsewhere = event({ ...text("hi"), event_id: "$first" });
    expect(translateEvent(otherRoom, elsewhere, given)).toMatchObject({ kind: "message" });
  });
});

test("a dead message of version 0.2 has no number: its event is what its sender wrote on Matrix, or nothing", () => {
  const dead: MarkedMessage = { ...message, number: null, status: "dead", event_id: "$dead" };
  const known = {
    ...context,
    messages: new Map([[dead.id, dead]]),
    messagesByEvent: new Map([["$dead", dead]]),
  };
  expect(translateEvent(room, event({ event_id: "$dead" }), known)).toEqual({ kind: "nothing" });
  expect(translateEvent(room, event({ event_id: "$dead", ...marked("as accepted") }), known)).toMatchObject({
    kind: "message",
    entry: { senderId: ada, content: { text: "as accepted" } },
  });
});

test("an unknown user has the name that Matrix has, or a general one; never a Matrix id", () => {
  const named = translateEvent(room, event({ ...text("hi"), sender: unknownUser }), context);
  const nameless = translateEvent(otherRoom, event({ ...text("hi"), sender: unknownUser }), context);
  expect(named).toMatchObject({ entry: { senderId: null, senderName: "Mallory" } });
  expect(nameless).toMatchObject({ entry: { senderId: null, senderName: expect.not.stringContaining(":") } });
});

test("one event always gives the same entry, and another event another entry", () => {
  const one = event(text("hi"));
  expect(translateEvent(room, one, context)).toEqual(translateEvent(room, one, context));
  expect(externalEntryId(room, "$a")).not.toBe(externalEntryId(room, "$b"));
  expect(externalEntryId(room, "$a")).not.toBe(externalEntryId(otherRoom, "$a"));
});

test("characters that Postgres and browsers refuse are removed or replaced", () => {
  const translation = translateEvent(room, event(text("a\u0000b\ud800c")), context);
  expect(translation).toMatchObject({ entry: { content: { text: "ab\ufffdc" } } });
});

test.each([
  ["a body that is not a string", text(42)],
  ["an empty body", text("")],
  ["a body of NULs alone", text("\u0000\u0000")],
  ["no body at all", {}],
  ["a message type that is not shown yet", { content: { msgtype: "m.image", body: "cat.png" } }],
  ["an edit", text("* new", { "m.relates_to": { rel_type: "m.replace", event_id: "$x" } })],
  ["an unknown type", { type: "org.example.poll", ...text("?") }],
  [
    "an unknown user who leaves",
    { type: "m.room.member", sender: unknownUser, state_key: unknownUser, content: { membership: "leave" } },
  ],
  [
    "the observer who joins",
    { type: "m.room.member", state_key: context.observerMatrixId, content: { membership: "join" } },
  ],
  [
    "an invitation of a known user",
    { type: "m.room.member", state_key: adaId, content: { membership: "invite" } },
  ],
])("%s changes nothing", (_, given) => {
  expect(translateEvent(room, event(given), context)).toEqual({ kind: "nothing" });
});

const moderator = "@omc_moderator:test";
const wasBanned = { prev_content: { membership: "ban" } };

test.each([
  ["joins", "join", adaId, {}, "in", null],
  ["leaves", "leave", adaId, {}, "out", null],
  ["is banned", "ban", moderator, {}, "out", { isBan: true }],
  ["is kicked", "leave", moderator, {}, "out", { isBan: false }],
  ["is banned by an account that we do not know", "ban", unknownUser, {}, "out", { isBan: true }],
  [
    "is banned by the observer's account, which never bans",
    "ban",
    context.observerMatrixId,
    {},
    "out",
    { isBan: true },
  ],
  ["is removed by our observer", "leave", context.observerMatrixId, {}, "out", null],
  ["is not banned any more", "leave", moderator, wasBanned, "out", null],
] as const)(
  "when a user of the tenant %s, the removal by others is to be settled, and nothing else",
  (_, membership, sender, unsigned, applied, removal) => {
    const content = { membership };
    const member = event({ type: "m.room.member", sender, state_key: adaId, content, unsigned });
    expect(translateEvent(room, member, context)).toEqual({
      kind: "membership",
      userId: ada,
      applied,
      ...(applied === "in" ? {} : { removal: removal && { eventId: member.event_id, ...removal } }),
    });
  },
);

test.each(["invite", "join"])("the %s of an unknown user is recorded", (membership) => {
  const coming = event({ type: "m.room.member", state_key: unknownUser, content: { membership } });
  expect(translateEvent(room, coming, context)).toEqual({ kind: "unknown-user" });
});

test.each([
  ["m.room.power_levels", "levels"],
  ["m.room.name", "description"],
  ["m.room.topic", "description"],
  ["m.room.avatar", "description"],
  ["m.room.join_rules", "description"],
  ["m.room.history_visibility", "description"],
  ["m.room.guest_access", "description"],
  ["m.room.canonical_alias", "description"],
])("a %s by anyone but the observer is a configuration drift of the %s", (type, what) => {
  expect(translateEvent(room, event({ type, state_key: "" }), context)).toEqual({
    kind: "configuration-drift",
    what,
  });
  const ours = event({ type, state_key: "", sender: context.observerMatrixId });
  expect(translateEvent(room, ours, context)).toEqual({ kind: "nothing" });
});

test.each([
  ["power levels", "m.room.power_levels", ["levels"]],
  ["name", "m.room.name", ["description"]],
  ["alias", "m.room.canonical_alias", ["description"]],
  // It could not be looked up: everything is compared.
  ["state of a type that is not known", null, ["levels", "description"]],
  ["state that the tenant does not decide", "m.room.pinned_events", null],
  ["message", undefined, null],
])("the redaction of a %s is translated in every room version, by the observer too", (_, type, what) => {
  const redacted = type === undefined ? [] : ([["$target", type]] as const);
  const given = { ...context, redactedStates: new Map(redacted) };
  const expected = what === null ? { kind: "nothing" } : { kind: "redacted-state", what };
  for (const sender of [adaId, context.observerMatrixId]) {
    // From version 11 on the target stands in the content.
    for (const target of [{ content: { redacts: "$target" } }, { redacts: "$target" }]) {
      const redaction = event({ type: "m.room.redaction", sender, ...target });
      expect(translateEvent(room, redaction, given)).toEqual(expected);
    }
  }
  const plan = planSync(
    [
      {
        roomId: room,
        matrixRoomId: "!room:here",
        events: [event({ type: "m.room.redaction", redacts: "$target" })],
      },
    ],
    given,
  );
  expect(plan.configurationDrifts).toEqual((what ?? []).map((each) => ({ roomId: room, what: each })));
});

test("an upgrade is recorded with the room that it replaces", () => {
  const tombstone = event({
    type: "m.room.tombstone",
    state_key: "",
    content: { replacement_room: "!roomOfVersion12WithoutAServersName" },
  });
  const plan = planSync([{ roomId: room, matrixRoomId: "!room:here", events: [tombstone] }], context);
  expect(plan.successors).toEqual([
    { roomId: room, matrixRoomId: "!roomOfVersion12WithoutAServersName", predecessor: "!room:here" },
  ]);
});

test("an encrypted room is recorded", () => {
  for (const type of ["m.room.encryption", "m.room.encrypted"]) {
    expect(translateEvent(room, event({ type }), context)).toEqual({ kind: "encrypted" });
  }
});

test("a dead message that Matrix has after all is settled and reported", () => {
  const dead: MarkedMessage = { ...message, status: "dead" };
  const found = { ...context, messages: new Map([[dead.id, dead]]) };
  const events = [event(marked("as accepted"))];
  expect(planSync([{ roomId: room, matrixRoomId: "!room", events }], found)).toMatchObject({
    settled: [{ messageId: dead.id }],
    revived: [dead.id],
  });
});

test("the second of two events of one message in a batch is a duplicate; the same event twice is not", () => {
  const first = event(marked("as accepted"));
  const second = event(marked("as accepted"));
  const events = [first, event(text("between")), second, first];
  const plan = planSync([{ roomId: room, matrixRoomId: "!room:here", events }], context);
  expect(plan.duplicates).toEqual([{ roomId: room, eventId: second.event_id, messageId: message.id }]);
  expect(new Set(plan.settled.map(({ eventId }) => eventId))).toEqual(new Set([first.event_id]));
  const ids = plan.entries.flatMap(({ entries }) => entries.map(({ eventId }) => eventId));
  expect(ids).not.toContain(second.event_id);
});

test("a plan holds many rooms' events by what has to be done, in the order they came", () => {
  const own = event(marked("as accepted"));
  const plan = planSync(
    [
      {
        roomId: room,
        matrixRoomId: "!room:here",
        events: [event(text("one")), own, event({ ...text("x", { [MARKER]: "y" }), sender: unknownUser })],
      },
      {
        roomId: otherRoom,
        matrixRoomId: "!room:here",
        events: [event({ type: "m.room.name", state_key: "" }), event({ type: "m.room.encrypted" })],
      },
    ],
    context,
  );
  expect(
    plan.entries.map(({ roomId, entries }) => [roomId, entries.map(({ content }) => content["text"])]),
  ).toEqual([[room, ["one", "x"]]]);
  expect(plan.settled).toEqual([{ messageId: message.id, eventId: own.event_id, roomId: room }]);
  expect(plan).toMatchObject({
    forged: 1,
    unnumbered: [],
    configurationDrifts: [{ roomId: otherRoom, what: "description" }],
    encrypted: [otherRoom],
  });
});

test("a message of version 0.2 gets its number before it is settled, and one that comes pruned is deleted after", () => {
  const older = { ...message, number: null, event_id: "$older" };
  const given = { ...context, messagesByEvent: new Map([["$older", older]]) };
  const events = [event({ content: {}, event_id: "$older" })];
  const plan = planSync([{ roomId: room, matrixRoomId: "!room:here", events }], given);
  expect(plan).toMatchObject({
    unnumbered: [room],
    settled: [{ messageId: message.id }],
    pruned: [message.id],
    entries: [],
  });
});
