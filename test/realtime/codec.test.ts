import { describe, expect, test } from "@jest/globals";
import { Hub } from "../../realtime/channels/hub.ts";
import { Topic } from "../../realtime/channels/topic.ts";
import { LIMITS } from "../../realtime/limits.ts";
import type { Codec } from "../../realtime/protocol/codec.ts";
import { codecOf, CODECS } from "../../realtime/protocol/codecs.ts";
import { REPLY_ERROR, UNSUBSCRIBE } from "../../realtime/protocol/codes.ts";
import { createPublication, PING, type Frame, type Payload } from "../../realtime/protocol/frames.ts";
import { jsonCodec } from "../../realtime/protocol/json/codec.ts";
import { Connection, type ConnectionDeps } from "../../realtime/session/connection.ts";
import { Flusher } from "../../realtime/session/flusher.ts";

const text = (frame: Frame) => jsonCodec.encode(frame).payload;
const recovery = { isRecovered: true, publications: [{ data: '{"a":1}', offset: 4 }] };

describe("the JSON codec", () => {
  test.each<[string, Frame, string]>([
    ["a ping", PING, "{}"],
    ["an empty reply", { kind: "reply", id: 2, method: "ping" }, '{"id":2,"ping":{}}'],
    [
      "a refresh",
      { kind: "reply", id: 2, method: "refresh", result: { client: "c", ttlS: 60 } },
      '{"id":2,"refresh":{"client":"c","expires":true,"ttl":60}}',
    ],
    [
      "an error",
      { kind: "error", id: 3, error: REPLY_ERROR.permissionDenied },
      '{"id":3,"error":{"code":103,"message":"permission denied","temporary":false}}',
    ],
    [
      "a publication, whose data it does not parse",
      createPublication('room:"a"', '{ "b" : 1 }', 7),
      '{"push":{"channel":"room:\\"a\\"","pub":{"data":{ "b" : 1 },"offset":7}}}',
    ],
    [
      "an unnumbered publication",
      createPublication("r", "1", null),
      '{"push":{"channel":"r","pub":{"data":1}}}',
    ],
    [
      "an unsubscribe",
      { kind: "unsubscribe", channel: "r", why: UNSUBSCRIBE.server },
      '{"push":{"channel":"r","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}',
    ],
    [
      "a subscribe",
      { kind: "subscribe", channel: "r", result: { epoch: "e", offset: 3, recovery: null } },
      '{"push":{"channel":"r","subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":3}}}',
    ],
    [
      "a subscribe reply with a recovery",
      { kind: "reply", id: 4, method: "subscribe", result: { epoch: "e", offset: 3, recovery } },
      '{"id":4,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":3,"recovered":true,"was_recovering":true,"publications":[{"data":{"a":1},"offset":4}]}}',
    ],
    [
      "a connect reply",
      {
        kind: "reply",
        id: 1,
        method: "connect",
        result: {
          ...{ client: "c", version: "v", ttlS: 60, pingS: 25, session: "s" },
          subs: [{ channel: "r", result: { epoch: "e", offset: 3, recovery: null } }],
        },
      },
      '{"id":1,"connect":{"client":"c","version":"v","expires":true,"ttl":60,"ping":25,"pong":true,"session":"s","subs":{"r":{"recoverable":true,"positioned":true,"epoch":"e","offset":3}}}}',
    ],
  ])("encodes %s", (_title, frame, expected) => {
    expect(text(frame)).toBe(expected);
  });

  test("counts bytes, not characters", () => {
    expect(jsonCodec.encode(createPublication("r", '"é"', null)).bytes).toBe(
      Buffer.byteLength('{"push":{"channel":"r","pub":{"data":"é"}}}'),
    );
  });

  test("is the codec of a client that names no sub-protocol", () => {
    expect(codecOf(null)).toBe(jsonCodec);
    expect(codecOf("centrifuge-json")).toBe(jsonCodec);
    expect(CODECS.map(({ subprotocol }) => subprotocol)).toEqual(["centrifuge-json"]);
  });
});

/** A codec that counts what it encodes. */
function counting(codec: Codec): { codec: Codec; encoded: Frame[] } {
  const encoded: Frame[] = [];
  const encode: Codec["encode"] = (frame) => {
    encoded.push(frame);
    return codec.encode(frame);
  };
  return { codec: { ...codec, encode }, encoded };
}

/** A second codec, with binary messages. */
const binaryCodec: Codec = {
  subprotocol: "test-binary",
  isBinary: true,
  decode: () => null,
  encode: (frame) => {
    const payload = Buffer.from(`<${frame.kind}>`);
    return { payload, bytes: payload.length };
  },
  join: (payloads) => Buffer.concat(payloads.map((payload) => Buffer.from(payload))),
};

describe("a publication to 100 subscribers", () => {
  const hub = new Hub<Connection>(
    { listen: () => undefined, drop: () => undefined },
    { note: () => undefined },
  );
  const deps: ConnectionDeps = {
    ...{ hub, flusher: new Flusher(), limits: LIMITS },
    run: () => Promise.resolve(),
    onClosed: () => undefined,
    onRefused: () => undefined,
  };

  function openSubscriber(codec: Codec, topic: Topic): Payload[] {
    const written: Payload[] = [];
    const socket = {
      write: (payload: Payload) => void written.push(payload),
      bufferedBytes: () => 0,
      close: () => undefined,
      terminate: () => undefined,
    };
    new Connection(socket, { origin: null, codec, leaveAddress: () => undefined }, deps).attach(topic, true);
    return written;
  }

  test("is encoded once by each of their two codecs, and joined with others by the codec", async () => {
    const topic = new Topic({ kind: "room", id: "r", channel: "group:r" });
    topic.open({ epoch: "e", number: 0 });
    const json = counting(jsonCodec);
    const binary = counting(binaryCodec);
    const readers = Array.from({ length: 100 }, (_, n) => {
      const { codec } = n % 2 === 0 ? json : binary;
      return { codec, written: openSubscriber(codec, topic) };
    });
    for (const number of [1, 2]) topic.deliver({ number, removedUserId: null, requestId: null, data: "{}" });
    await new Promise((resolve) => setImmediate(resolve));
    expect([json.encoded.length, binary.encoded.length]).toEqual([2, 2]);
    const lines = [1, 2].map((n) => `{"push":{"channel":"group:r","pub":{"data":{},"offset":${n}}}}`);
    for (const { codec, written } of readers) {
      expect(written).toEqual([
        codec.isBinary ? Buffer.from("<publication><publication>") : lines.join("\n"),
      ]);
    }
  });
});
