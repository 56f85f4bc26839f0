import { describe, expect, test } from "@jest/globals";
import { externalEntryId } from "../../shared/platform/ids.ts";
import { MARKER } from "../../workers/matrix/marker.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";
import { translateEvent } from "../../workers/inbound/translate/index.ts";
import { eventKey, nameKey, type EventContext } from "../../workers/inbound/translate/translation.ts";
import type { MarkedMessage } from "../../shared/db/observers/find-named.ts";
import { planSync, type SyncPlan } from "../../workers/inbound/sync-plan.ts";

const room = "01990000-0000-7000-8000-000000000001";
const otherRoom = "01990000-0000-7000-8000-000000000002";
const ada = "01990000-0000-7000-8000-00000000000a";
const adaId = "@omc_ada:test";
const unknownUser = "@outsider:test";

const message: MarkedMessage = {
  id: "01990000-0000-7000-8000-0000000000aa",
  room_id: room,
  sender_matrix_id: adaId,
  acts_as: "sender",
  target_event_id: null,
  content: { text: "as accepted" },
  event_id: null,
  status: "queued",
};

const tenantId = "01990000-0000-7000-8000-0000000000fe";

const context: EventContext = {
  tenantId,
  userIds: new Map([[adaId, ada]]),
  observerMatrixId: "@omc_observer:test",
  names: new Map([[nameKey(room, unknownUser), "Mallory"]]),
  people: new Map([[adaId, { matrixUserId: adaId, user: "ada", name: "Ada" }]]),
  roomMentioners: new Set(),
  answered: new Map(),
  messages: new Map([[message.id, message]]),
  messagesByEvent: new Map(),
  redacted: new Map(),
  waiting: [],
  redactedStates: new Map(),
};

/** What a plan appends, in order: texts of messages, and kinds of acts with their targets. */
function stepsOf(plan: SyncPlan): unknown[] {
  return plan.steps.flatMap((step) =>
    step.kind === "entries"
      ? step.entries.map(({ content }) => content["text"])
      : [[step.act.kind, step.act.targetEventId]],
  );
}

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

function reaction(key: string, more: Record<string, unknown> = {}): Partial<MatrixEvent> {
  const relation = { rel_type: "m.annotation", event_id: "$target", key, ...more };
  return { type: "m.reaction", content: { "m.relates_to": relation } };
}

const marked = (body: string, marker: unknown = message.id) => text(body, { [MARKER]: marker });

test("an event with the marker, room, sender, kind and content of a message of ours is that message", () => {
  expect(translateEvent(room, event(marked("as accepted")), context)).toEqual({
    kind: "own",
    message,
    isPruned: false,
    deletion: null,
    redacts: null,
  });
});

test.each([
  ["in another room", otherRoom, {}, message.id],
  ["by another sender", room, { sender: unknownUser }, message.id],
  ["of a message that does not exist", room, {}, "01990000-0000-7000-8000-0000000000ff"],
  ["that is no id", room, {}, { nested: true }],
])("a marker %s is not ours", (_, where, more, marker) => {
  const forged = event({ ...marked("as accepted", marker), ...more });
  const translation = translateEvent(where, forged, context);
  expect(translation).toMatchObject({ kind: "message", isForged: true });
  expect(translation).toMatchObject({
    entry: { entryId: externalEntryId(where, forged.event_id), content: { text: "as accepted" } },
  });
});

test.each([
  ["emote", { content: { msgtype: "m.emote", body: "as accepted", [MARKER]: message.id } }],
  ["notice", { type: "m.sticker", content: { body: "as accepted", [MARKER]: message.id } }],
])("a marker on an %s is not that of a text of ours", (kind, given) => {
  const translation = translateEvent(room, event(given), context);
  expect(translation).toMatchObject({ kind: "message", isForged: true, entry: { content: { kind } } });
});

test("the same person's marker with another text is that message: formatted texts change on their way", () => {
  const changed = { content: { ...marked("something else").content, formatted_body: "<b>something</b>" } };
  expect(translateEvent(room, event(changed), context)).toMatchObject({ kind: "own", message });
});

test("the same person's marker on an event of another type or with a relation is not the message", () => {
  const edit = marked("* new").content ?? {};
  const relation = { rel_type: "m.replace", event_id: "$x" };
  for (const given of [
    { content: { ...edit, "m.relates_to": relation, "m.new_content": { msgtype: "m.text", body: "new" } } },
    {
      type: "m.reaction",
      content: { ...edit, "m.relates_to": { ...relation, rel_type: "m.annotation", key: "+" } },
    },
    { type: "m.room.redaction", content: { ...edit, redacts: "$x" } },
  ])
    expect(translateEvent(room, event(given), context)).toMatchObject({ kind: "act", isForged: true });
});

describe("a message that has an event", () => {
  const answered = { ...message, event_id: "$first" };
  const given = {
    ...context,
    messages: new Map([[message.id, answered]]),
    messagesByEvent: new Map([["$first", answered]]),
  };

  test("is that event, also with changed content, and when it has none any more", () => {
    const own = { kind: "own", message: answered, isPruned: false, deletion: null, redacts: null };
    const changed = event({ ...text("changed by a module"), event_id: "$first" });
    expect(translateEvent(room, changed, given)).toEqual(own);
    const pruned = event({ content: {}, event_id: "$first" });
    expect(translateEvent(room, pruned, given)).toEqual({ ...own, isPruned: true });
    const redaction = (sender: string, eventId = "$redaction") => ({
      ...pruned,
      unsigned: {
        redacted_because: event({
          ...{ type: "m.room.redaction", event_id: eventId, sender },
          content: { reason: "spam" },
        }),
      },
    });
    expect(translateEvent(room, redaction(unknownUser), given)).toMatchObject({
      isPruned: true,
      deletion: { eventId: "$redaction", targetEventId: "$first", content: { reason: "spam" }, userId: null },
    });
    for (const unusable of [redaction(given.observerMatrixId), redaction(unknownUser, "$\0")])
      expect(translateEvent(room, unusable, given)).toEqual({ ...own, isPruned: true });
  });

  test("has a duplicate in any other event that is the message, and none in what is not", () => {
    expect(translateEvent(room, event({ ...marked("as accepted"), event_id: "$second" }), given)).toEqual({
      kind: "duplicate",
      eventId: "$second",
      messageId: message.id,
    });
    const byAnother = event({ ...marked("forged"), sender: unknownUser });
    expect(translateEvent(room, byAnother, given)).toMatchObject({ kind: "message", isForged: true });
  });

  test("is not an event of that id in another room", () => {
    const elsewhere = event({ ...text("hi"), event_id: "$first" });
    expect(translateEvent(otherRoom, elsewhere, given)).toMatchObject({ kind: "message" });
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
  ["a step of a verification", { content: { msgtype: "m.key.verification.request", body: "?" } }],
  ["a sticker that was redacted before it was read", { type: "m.sticker" }],
  ["a vote", { type: "m.poll.response", content: { "m.selections": ["1"] } }],
  [
    "an edit without new content",
    text("* new", { "m.relates_to": { rel_type: "m.replace", event_id: "$x" } }),
  ],
  ["a reaction without content, which was redacted", { type: "m.reaction" }],
  ["a reaction of another relation", reaction("+", { rel_type: "m.reference" })],
  ["a reaction with a picture", reaction("mxc://somewhere/cat")],
  ["a reaction with a long text", reaction("x".repeat(65))],
  ["a reaction with a control character", reaction("a\u0007")],
  ["a reaction to an event whose id no table can hold", reaction("+", { event_id: "$\u0000" })],
  ["a redaction without a target", { type: "m.room.redaction" }],
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
const wasJoined = { prev_content: { membership: "join" } };
const wasBanned = { prev_content: { membership: "ban" } };

test.each([
  ["joins", "join", adaId, {}, "in", null],
  ["leaves", "leave", adaId, {}, "out", null],
  ["leaves where it was joined", "leave", adaId, wasJoined, "out", { isBan: false }],
  ["is banned", "ban", moderator, {}, "out", { isBan: true }],
  ["is kicked", "leave", moderator, {}, "out", { isBan: false }],
  ["is banned by an account that we do not know", "ban", unknownUser, {}, "out", { isBan: true }],
  ["is banned by the observer's account", "ban", context.observerMatrixId, {}, "out", { isBan: true }],
  ["is removed by our observer", "leave", context.observerMatrixId, {}, "out", null],
  ["is not banned any more", "leave", moderator, wasBanned, "out", null],
] as const)(
  "when a user of the tenant %s, the removal by others is to be settled, and nothing else",
  (_, membership, sender, unsigned, applied, removal) => {
    const content = { membership };
    const member = event({ type: "m.room.member", sender, state_key: adaId, content, unsigned });
    const isOfOthers =
      sender !== context.observerMatrixId && (membership === "ban" || unsigned === wasBanned);
    expect(translateEvent(room, member, context)).toEqual({
      kind: "membership",
      userId: ada,
      applied,
      ...(applied === "in" ? {} : { removal: removal && { eventId: member.event_id, ...removal } }),
      ...(isOfOthers ? { ban: expect.objectContaining({ userId: ada, isBan: membership === "ban" }) } : {}),
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
  ["list of pinned messages", "m.room.pinned_events", ["description"]],
  ["state that the tenant does not decide", "org.example.state", null],
  ["message", undefined, null],
])("the redaction of a %s is translated in every room version, by the observer too", (_, type, what) => {
  const redacted = type === undefined ? [] : ([["$target", type]] as const);
  const given = { ...context, redactedStates: new Map(redacted) };
  for (const sender of [adaId, context.observerMatrixId]) {
    const isAct = typeof type !== "string" && sender === adaId;
    const ofState = what === null ? { kind: "nothing" } : { kind: "redacted-state", what };
    const expected = isAct ? { kind: "act", mayBeState: type === null } : ofState;
    // From version 11 on the target stands in the content.
    for (const target of [{ content: { redacts: "$target" } }, { redacts: "$target" }]) {
      const redaction = event({ type: "m.room.redaction", sender, ...target });
      expect(translateEvent(room, redaction, given)).toMatchObject(expected);
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
  expect(stepsOf(plan)).toEqual(["between"]);
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
  expect(stepsOf(plan)).toEqual(["one", "x"]);
  expect(plan.settled).toEqual([{ messageId: message.id, eventId: own.event_id, roomId: room }]);
  expect(plan).toMatchObject({
    forged: 1,
    configurationDrifts: [{ roomId: otherRoom, what: "description" }],
    encrypted: [otherRoom],
  });
});

test("a message of ours that comes pruned is settled, and deleted after", () => {
  const given = { ...context, messagesByEvent: new Map([["$pruned", { ...message, event_id: "$pruned" }]]) };
  const events = [event({ content: {}, event_id: "$pruned" })];
  const plan = planSync([{ roomId: room, matrixRoomId: "!room:here", events }], given);
  expect(plan).toMatchObject({ settled: [{ messageId: message.id }], pruned: [message.id], steps: [] });
});

describe("acts of other Matrix clients", () => {
  const target = "$target";
  const edit = (body: unknown, more: Record<string, unknown> = {}) =>
    event({
      content: {
        ...{ msgtype: "m.text", body: "* fallback" },
        "m.new_content": { msgtype: "m.text", body, ...more },
        "m.relates_to": { rel_type: "m.replace", event_id: target },
      },
    });

  test("an edit has the new content alone, and the time at which it was sent", () => {
    const given = edit("new", { "m.relates_to": { "m.in_reply_to": { event_id: "$other" } } });
    expect(translateEvent(room, given, context)).toMatchObject({
      kind: "act",
      isForged: false,
      act: {
        ...{
          roomId: room,
          eventId: given.event_id,
          targetEventId: target,
          kind: "edit",
          userId: ada,
          ref: ada,
        },
        content: { kind: "edit", of: "text", text: "new" },
        at: new Date(1_000),
      },
    });
    expect(translateEvent(room, edit(42), context)).toEqual({ kind: "nothing" });
  });

  test("a reaction is compared without the emoji selector, and kept as it was written", () => {
    expect(translateEvent(room, event(reaction("\u2764\ufe0f")), context)).toMatchObject({
      act: { kind: "reaction", targetEventId: target, content: { key: "\u2764", raw: "\u2764\ufe0f" } },
    });
  });

  test("a reaction of an unknown user has that user's name, and a ref that no Matrix id can be read from", () => {
    const given = event({ ...reaction("+"), sender: unknownUser });
    const again = event({ ...reaction("-"), sender: unknownUser });
    const [one, two] = [given, again].map((each) => translateEvent(room, each, context));
    expect(one).toMatchObject({
      act: { userId: null, name: "Mallory", ref: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    });
    if (one?.kind === "act" && two?.kind === "act") expect(two.act.ref).toBe(one.act.ref);
  });

  test.each([
    ["in the content", { content: { redacts: target, reason: "off topic" } }],
    ["at the top level", { redacts: target, content: { reason: "off topic" } }],
  ])("a redaction that names its target %s is a deletion with its reason", (_, given) => {
    const redaction = event({ type: "m.room.redaction", ...given });
    expect(translateEvent(room, redaction, context)).toMatchObject({
      kind: "act",
      act: { kind: "deletion", targetEventId: target, content: { kind: "deletion", reason: "off topic" } },
    });
  });

  test("a redaction of an act that waits for its target takes that away, in its own room", () => {
    const redaction = event({ type: "m.room.redaction", redacts: target });
    const given = { ...context, redacted: new Map([[eventKey(room, target), "waiting"]] as const) };
    expect(translateEvent(room, redaction, given)).toEqual({ kind: "withdrawn", eventId: target });
    expect(translateEvent(otherRoom, redaction, given)).toMatchObject({ kind: "act" });
    const plan = planSync([{ roomId: room, matrixRoomId: "!room", events: [redaction] }], given);
    expect(plan).toMatchObject({ steps: [], adopted: [{ roomId: room, eventId: target }] });
  });

  test("a redaction by the observer of what is not here is that of a duplicate, and changes nothing", () => {
    const redaction = event({ type: "m.room.redaction", redacts: target, sender: context.observerMatrixId });
    expect(translateEvent(room, redaction, context)).toEqual({ kind: "nothing" });
  });
});

describe("acts of ours", () => {
  const row = (content: Record<string, unknown>, more: Partial<MarkedMessage> = {}): MarkedMessage => ({
    ...message,
    target_event_id: "$target",
    content,
    ...more,
  });
  const translate = (own: MarkedMessage, given: Partial<MatrixEvent>) => {
    const content = { ...given.content, [MARKER]: own.id };
    return translateEvent(room, event({ ...given, content }), {
      ...context,
      messages: new Map([[own.id, own]]),
    });
  };
  const redaction: Partial<MatrixEvent> = { type: "m.room.redaction", redacts: "$target" };

  test("are recognised by marker, sender, kind and target", () => {
    const reacted = row({ kind: "reaction", key: "+" });
    expect(translate(reacted, reaction("+"))).toMatchObject({
      kind: "own",
      message: reacted,
      isPruned: false,
    });
    expect(translate(reacted, reaction("+", { event_id: "$other" }))).toMatchObject({
      kind: "act",
      isForged: true,
    });
    expect(translate(row({ kind: "deletion" }), reaction("+"))).toMatchObject({
      kind: "act",
      isForged: true,
    });
    expect(translate(row({ kind: "deletion" }), redaction)).toMatchObject({
      kind: "own",
      redacts: "$target",
    });
    expect(translate(row({ kind: "unreaction" }), redaction)).toMatchObject({
      kind: "own",
      redacts: "$target",
    });
  });

  test.each([
    [
      "a moderator's deletion by the observer",
      { kind: "deletion" },
      "observer",
      context.observerMatrixId,
      "own",
    ],
    ["a moderator's deletion by the moderator's account", { kind: "deletion" }, "observer", adaId, "act"],
    [
      "a deletion of a removed author by the observer",
      { kind: "deletion" },
      "sender",
      context.observerMatrixId,
      "own",
    ],
    ["a message by the observer", { kind: "text" }, "sender", context.observerMatrixId, "nothing"],
  ] as const)("%s is ours or not by who was to act", (_, content, actsAs, sender, kind) => {
    expect(translate(row(content, { acts_as: actsAs }), { ...redaction, sender })).toMatchObject({ kind });
  });

  test("that were redacted before we read them are settled, and are no deleted messages", () => {
    const reacted = row({ kind: "reaction", key: "+" }, { event_id: "$reaction" });
    const given = { ...context, messagesByEvent: new Map([["$reaction", reacted]]) };
    const events = [event({ type: "m.reaction", event_id: "$reaction", content: {} })];
    const plan = planSync([{ roomId: room, matrixRoomId: "!room", events }], given);
    expect(plan).toMatchObject({ settled: [{ messageId: reacted.id }], reactions: [reacted.id], pruned: [] });
  });
});

describe("the steps of a plan", () => {
  const react = (target: string) => event(reaction("+", { event_id: target }));
  const redact = (target: string) => event({ type: "m.room.redaction", redacts: target });
  const planned = (events: MatrixEvent[], given: Partial<EventContext> = {}) =>
    planSync([{ roomId: room, matrixRoomId: "!room", events }], { ...context, ...given });

  test("are in the order of the events, entries and acts", () => {
    const [one, two] = [event(text("one")), event(text("two"))];
    expect(stepsOf(planned([one, react(one.event_id), two, redact(one.event_id)]))).toEqual([
      "one",
      ["reaction", one.event_id],
      "two",
      ["deletion", one.event_id],
    ]);
  });

  test("have an act that comes before its target right after it", () => {
    const [one, two] = [event(text("one")), event(text("two"))];
    expect(stepsOf(planned([react(two.event_id), redact(two.event_id), one, two]))).toEqual([
      "one",
      "two",
      ["reaction", two.event_id],
      ["deletion", two.event_id],
    ]);
  });

  test("have the redaction of an act that comes before it right after it too", () => {
    const reacted = react("$target");
    expect(stepsOf(planned([redact(reacted.event_id), reacted]))).toEqual([
      ["reaction", "$target"],
      ["deletion", reacted.event_id],
    ]);
  });

  test("hold an act and its redaction until the message that the act is about", () => {
    const one = event(text("one"));
    const reacted = react(one.event_id);
    expect(stepsOf(planned([reacted, redact(reacted.event_id), one]))).toEqual([
      "one",
      ["reaction", one.event_id],
      ["deletion", reacted.event_id],
    ]);
  });

  test("have the acts that waited for a message right after it, and for nothing where it comes without content", () => {
    const one = event({ ...text("one"), event_id: "$awaited" });
    const act = {
      ...{ roomId: room, eventId: "$waiting", targetEventId: "$awaited", kind: "deletion" as const },
      ...{
        content: { kind: "deletion" as const, reason: null },
        senderMatrixId: adaId,
        userId: ada,
        name: null,
        ref: ada,
      },
      at: "2026-01-01T00:00:00.000Z",
    };
    const waiting = [{ room_id: room, event_id: "$waiting", target_event_id: "$awaited", act }];
    const plan = planned([one, event(text("two"))], { waiting });
    expect(stepsOf(plan)).toEqual(["one", ["deletion", "$awaited"], "two"]);
    expect(plan.adopted).toEqual([{ roomId: room, eventId: "$waiting" }]);
    const pruned = planned([{ ...one, content: {} }], { waiting });
    expect(pruned).toMatchObject({ steps: [], adopted: [{ eventId: "$waiting" }] });
  });
});

test.each([
  ["m.room.name", { name: "Chess" }, { field: "name", value: "Chess" }],
  ["m.room.topic", { topic: "Openings" }, { field: "topic", value: "Openings" }],
  ["m.room.topic", { topic: "" }, { field: "topic", value: null }],
])("a %s with %j of a user of the tenant is to be taken over", (type, content, fields) => {
  const given = event({ type, content, state_key: "" });
  const at = new Date(given.origin_server_ts).toISOString();
  expect(translateEvent(room, given, context)).toEqual({
    kind: "description",
    change: { roomId: room, actorId: ada, ...fields, at },
  });
});

test.each([
  ["m.room.name", { name: "" }],
  ["m.room.name", { name: "x".repeat(257) }],
  ["m.room.name", { name: 7 }],
  ["m.room.topic", {}],
])("a %s with %j, which no room has, is put back", (type, content) => {
  expect(translateEvent(room, event({ type, content, state_key: "" }), context)).toMatchObject({
    kind: "configuration-drift",
  });
});

test("a list of pinned messages pins and unpins what differs from the list before it", () => {
  const pins = (now: unknown, before?: unknown) =>
    translateEvent(
      room,
      event({
        type: "m.room.pinned_events",
        state_key: "",
        content: { pinned: now },
        ...(before === undefined ? {} : { unsigned: { prev_content: { pinned: before } } }),
      }),
      context,
    );
  const acts = (translation: ReturnType<typeof pins>) =>
    translation.kind === "pins"
      ? translation.acts.map(({ kind, targetEventId }) => [kind, targetEventId])
      : translation.kind;
  expect(acts(pins(["$a", "$b"]))).toEqual([
    ["pin", "$a"],
    ["pin", "$b"],
  ]);
  expect(acts(pins(["$b", "$c", 7, "$c"], ["$a", "$b"]))).toEqual([
    ["unpin", "$a"],
    ["pin", "$c"],
  ]);
  expect(acts(pins("all", ["$a"]))).toEqual([["unpin", "$a"]]);
  expect(acts(pins(Array.from({ length: 200 }, (_, index) => `$${String(index)}`)))).toHaveLength(100);
  expect(
    translateEvent(
      room,
      event({ type: "m.room.pinned_events", state_key: "", sender: context.observerMatrixId }),
      context,
    ),
  ).toEqual({ kind: "nothing" });
});
