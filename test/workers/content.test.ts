import { expect, test } from "@jest/globals";
import { ACTS, type ActContent } from "../../shared/contract/content/acts.ts";
import {
  ENTRY_TYPES,
  MESSAGE_ENTRY_TYPES,
  parseContent,
  presentContent,
  UNREAD_ENTRY_TYPES,
  type Content,
  type ContentKind,
  type ContentOf,
} from "../../shared/contract/content/index.ts";
import {
  identifyMessage,
  messageRequest,
  type MessageRequest,
} from "../../shared/contract/content/message.ts";
import { eventBytes } from "../../shared/contract/content/size.ts";
import { messageResource } from "../../shared/contract/resources.ts";
import { toCalls } from "../../workers/matrix/acts/index.ts";
import type { SentWith } from "../../workers/matrix/content/define.ts";
import {
  CONTENT_EVENT_TYPES,
  fromMatrix,
  readKind,
  toMatrix,
  type EventPeople,
  type MatrixContents,
  type NamedPerson,
} from "../../workers/matrix/content/index.ts";
import { textOnMatrix } from "../../workers/matrix/content/text.ts";
import type { MatrixEvent } from "../../workers/matrix/event.ts";

const text = "See you at seven, **Zoë** 🎉 @bob";
const html = '<p>See you at seven, <strong>Zoë</strong> 🎉 <span data-mention="bob">@Bob</span></p>';
const mentions = { users: ["bob"], room: false };
const bob: NamedPerson = { matrixUserId: "@omc_bob:test", user: "bob", name: "Bob" };
const named = { people: new Map([["bob", bob]]) };
const known: EventPeople = {
  find: (id) => (id === bob.matrixUserId ? bob : undefined),
  mayMentionRoom: true,
};

/** What the outbox and the timeline keep of messages of each kind: a kind without one does not compile. */
const SAMPLES: { [K in ContentKind]: ContentOf<K>[] } = {
  text: [
    { kind: "text", text: "See you at seven, Zoë 🎉" },
    { kind: "text", text, format: "markdown", html, mentions },
    { kind: "text", text: "all of you", mentions: { users: [], room: true } },
  ],
  notice: [{ kind: "notice", text, format: "markdown", html, mentions }],
  emote: [{ kind: "emote", text: "waves" }],
};

const samples = Object.values(SAMPLES).flatMap((contents: Content[]) =>
  contents.map((content) => [content.kind, content] as const),
);

function eventOf(content: Content, given: SentWith): MatrixEvent {
  const kept: unknown = JSON.parse(JSON.stringify(content));
  const request = toMatrix(parseContent(kept), given);
  return { event_id: "$event", sender: "@ada:test", origin_server_ts: 0, ...request };
}

test.each(samples)(
  "a %s comes back from Matrix as it was sent, with its HTML and mentions",
  (kind, content) => {
    const event = eventOf(content, { ...named, targetEventId: "$target" });
    // On Matrix a person is called by name.
    const read = { ...content, text: content.text.replace("@bob", "@Bob") };
    expect(fromMatrix(event, known)).toEqual({
      content: read,
      targetEventId: "$target",
      threadEventId: null,
    });
    expect(readKind(event)).toBe(kind);
    expect(CONTENT_EVENT_TYPES).toContain(event.type);
    expect(presentContent(content)).toMatchObject({ html: null, ...content });
    expect(Object.keys(messageResource.shape)).toEqual(
      expect.arrayContaining(Object.keys(presentContent(content))),
    );
  },
);

test("a message on Matrix says whom it mentions, and is HTML where somebody is linked", () => {
  const plain = eventOf({ kind: "text", text: "hello" }, { targetEventId: null });
  expect(plain.content).toEqual({ msgtype: "m.text", body: "hello", "m.mentions": {} });
  const formatted = eventOf(
    {
      kind: "emote",
      text: "greets @bob & @zoe",
      html: 'greets <span data-mention="bob">@Bob</span> &amp; @zoe',
      mentions,
    },
    // Whom other messages mention is nobody here.
    {
      targetEventId: null,
      people: new Map([...named.people, ["zoe", { ...bob, user: "zoe", name: "Zoë" }]]),
    },
  );
  expect(formatted.content).toEqual({
    msgtype: "m.emote",
    body: "greets @Bob & @zoe",
    format: "org.matrix.custom.html",
    formatted_body: 'greets <a href="https://matrix.to/#/@omc_bob:test">Bob</a> &amp; @zoe',
    "m.mentions": { user_ids: ["@omc_bob:test"] },
  });
});

test("names that grew since a message was accepted never make its event too large: people stand in it by their ids", () => {
  const person = { ...bob, name: "\u{1f600}".repeat(250) };
  const grown = { targetEventId: null, people: new Map([["bob", person]]) };
  const times = (count: number): Content => ({
    ...{ kind: "text", format: "markdown", mentions, text: "@bob ".repeat(count) },
    html: `<p>${'<span data-mention="bob">@B</span> '.repeat(count)}</p>`,
  });
  const bytes = ({ content }: MatrixEvent) => Buffer.byteLength(JSON.stringify(content));
  expect(eventOf(times(1), grown).content["body"]).toBe(`@${person.name} `);
  const shorter = eventOf(times(180), grown);
  expect(bytes(shorter)).toBeLessThan(60_000);
  expect(shorter.content).toMatchObject({
    ...{ body: "@bob ".repeat(180), "m.mentions": { user_ids: [bob.matrixUserId] } },
    formatted_body: expect.stringContaining('<a href="https://matrix.to/#/@omc_bob:test">bob</a>'),
  });
  const plain = eventOf(times(2_000), grown);
  expect(bytes(plain)).toBeLessThan(60_000);
  expect(plain.content).not.toHaveProperty("formatted_body");
  const { kind: _kind, ...fields } = times(180);
  const act: ActContent = ACTS.edit.content.parse({ ...fields, kind: "edit", of: "text" });
  const [call] = toCalls(act, {
    ...grown,
    targetEventId: "$target",
    related: [],
    pins: [],
    formerMentions: null,
  });
  expect(Buffer.byteLength(JSON.stringify(call))).toBeLessThan(60_000);
});

test("a message of a thread answers in it, and stays in it", () => {
  const event = eventOf({ kind: "text", text: "yes" }, { targetEventId: "$target", threadEventId: "$root" });
  expect(event.content["m.relates_to"]).toEqual({
    rel_type: "m.thread",
    event_id: "$root",
    is_falling_back: false,
    "m.in_reply_to": { event_id: "$target" },
  });
  expect(fromMatrix(event)).toMatchObject({ targetEventId: "$target", threadEventId: "$root" });
});

test("a kind of content without one of its two directions does not compile", () => {
  const { eventTypes } = textOnMatrix;
  const isOfKind = () => true;
  const to = { eventTypes, isOfKind, toMatrix: () => ({ type: "m.room.message", content: {} }) };
  const from = { fromMatrix: () => null };
  const both: MatrixContents["text"] = { ...to, ...from };
  // @ts-expect-error fromMatrix is missing.
  const oneWay: MatrixContents["text"] = to;
  // @ts-expect-error toMatrix is missing.
  const otherWay: MatrixContents["text"] = { eventTypes, isOfKind, ...from };
  // @ts-expect-error kinds are missing.
  const none: MatrixContents = { text: both };
  expect([both, oneWay, otherWay, none]).toHaveLength(4);
});

test("a row that names no kind holds a text", () => {
  expect(parseContent({ text: "from before" })).toEqual({ kind: "text", text: "from before" });
  expect(() => parseContent({ kind: "poll", text: "?" })).toThrow();
});

test("a text message is one entry of the timeline, which counts as unread", () => {
  expect(ENTRY_TYPES).toMatchObject({ text: "message.created" });
  expect(MESSAGE_ENTRY_TYPES).toEqual(["message.created"]);
  expect(UNREAD_ENTRY_TYPES).toEqual(["message.created"]);
});

test("two requests are the same when their bodies are: the hash of a plain text is that of earlier versions", () => {
  expect(identifyMessage({ text: "hello" })).toBe("hello");
  expect(identifyMessage({ text: "hello", kind: "text", format: "plain", mentions: {} })).toBe("hello");
  const others: MessageRequest[] = [
    { text: "hello", kind: "emote" },
    { text: "hello", format: "markdown" },
    { text: "hello", replyTo: "01990000-0000-7000-8000-000000000001" },
    { text: "hello", mentions: { users: ["bob"] } },
    { text: "hello", mentions: { room: true } },
  ];
  expect(new Set(others.map(identifyMessage)).size).toBe(others.length);
});

test("a text is limited in bytes of UTF-8", () => {
  const fits = (body: string) => messageRequest.safeParse({ text: body }).success;
  expect([fits("x".repeat(10_000)), fits("é".repeat(5_000))]).toEqual([true, true]);
  expect([fits("é".repeat(5_001)), fits("")]).toEqual([false, false]);
});

test("what an event may take is never less than it takes", () => {
  const long: Content = { kind: "text", text: "\n".repeat(10_000), html: "é".repeat(20_000), mentions };
  const event = eventOf(long, { ...named, targetEventId: "$target" });
  expect(eventBytes(long)).toBeGreaterThan(Buffer.byteLength(JSON.stringify(event)));
  expect(eventBytes(long, { isEdit: true })).toBe(eventBytes(long) + 20_002);
});
