import { expect, test } from "@jest/globals";
import {
  CONTENT,
  ENTRY_TYPES,
  identifyContent,
  MESSAGE_ENTRY_TYPES,
  parseContent,
  presentContent,
  UNREAD_ENTRY_TYPES,
  type ContentKind,
  type ContentOf,
} from "../../shared/contract/content/index.ts";
import { messageResource } from "../../shared/contract/resources.ts";
import {
  CONTENT_EVENT_TYPES,
  fromMatrix,
  toMatrix,
  type MatrixContents,
} from "../../workers/matrix/content/index.ts";
import { textOnMatrix } from "../../workers/matrix/content/text.ts";

const text = { text: "See you at seven, Zoë 🎉" };

/** A request of each kind, and what the outbox and the timeline keep of it: a kind without one does not compile. */
const SAMPLES: { [K in ContentKind]: { request: object; content: ContentOf<K> } } = {
  text: { request: text, content: CONTENT.text.toContent(CONTENT.text.request.parse(text)) },
};

test.each(Object.keys(CONTENT) as ContentKind[])(
  "a %s that a caller sends comes back from Matrix as it was sent",
  (kind) => {
    const { request: body, content } = SAMPLES[kind];
    const kept: unknown = JSON.parse(JSON.stringify(content));
    const target = { targetEventId: CONTENT[kind].relatesTo === "message" ? "$target" : null };
    const request = toMatrix(parseContent(kept), target);
    const event = { event_id: "$event", sender: "@ada:test", origin_server_ts: 0, ...request };
    expect(fromMatrix(event)).toEqual({ content, ...target });
    expect(presentContent(kept)).toMatchObject(body);
    expect(Object.keys(messageResource.shape)).toEqual(
      expect.arrayContaining(Object.keys(presentContent(kept))),
    );
    expect(CONTENT_EVENT_TYPES).toContain(request.type);
  },
);

test("a kind of content without one of its two directions does not compile", () => {
  const { eventType } = textOnMatrix;
  const to = { toMatrix: () => ({ type: eventType, content: {} }) };
  const from = { fromMatrix: () => null };
  const both: MatrixContents = { text: { eventType, ...to, ...from } };
  // @ts-expect-error fromMatrix is missing.
  const oneWay: MatrixContents = { text: { eventType, ...to } };
  // @ts-expect-error toMatrix is missing.
  const otherWay: MatrixContents = { text: { eventType, ...from } };
  // @ts-expect-error a kind is missing.
  const none: MatrixContents = {};
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

test("two requests are the same when their texts are: their hash is that of earlier versions", () => {
  expect(identifyContent({ kind: "text", text: "hello" })).toBe("hello");
});

test("a text is limited in bytes of UTF-8", () => {
  const { request } = CONTENT.text;
  expect(request.safeParse({ text: "x".repeat(10_000) }).success).toBe(true);
  expect(request.safeParse({ text: "é".repeat(5_000) }).success).toBe(true);
  expect(request.safeParse({ text: "é".repeat(5_001) }).success).toBe(false);
  expect(request.safeParse({ text: "" }).success).toBe(false);
});
