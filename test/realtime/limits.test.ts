import { describe, expect, test } from "@jest/globals";
import { CLOSE, closeOfCode, REPLY_ERROR } from "../../realtime/protocol/codes.ts";
import { batchSize, drain } from "../../realtime/session/drain.ts";
import { Semaphore } from "../../shared/platform/concurrency/semaphore.ts";
import { Bucket } from "../../realtime/session/bucket.ts";
import { Flusher } from "../../realtime/session/flusher.ts";
import { OutboundQueue } from "../../realtime/session/outbound-queue.ts";
import { jsonCodec } from "../../realtime/protocol/json/codec.ts";
import type { EncodedFrame, Payload } from "../../realtime/protocol/frames.ts";

function createSocket(buffered = 0) {
  const written: Payload[] = [];
  return {
    written,
    write: (payload: Payload) => void written.push(payload),
    bufferedBytes: () => buffered,
  };
}

const createFrame = (text: string): EncodedFrame => ({ payload: text, bytes: Buffer.byteLength(text) });

function createQueue(socket: ReturnType<typeof createSocket>, onSlow: () => void): OutboundQueue {
  return new OutboundQueue(socket, { codec: jsonCodec, flusher: new Flusher(), maxBytes: 100, onSlow });
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("the outbound queue", () => {
  test("writes what was queued in one turn once, joined by newlines", async () => {
    const socket = createSocket();
    const queue = createQueue(socket, () => undefined);
    queue.push(createFrame("a"));
    queue.push(createFrame("b"));
    expect(socket.written).toEqual([]);
    await turn();
    queue.push(createFrame("c"));
    await turn();
    expect(socket.written).toEqual(["a\nb", "c"]);
  });

  test("counts bytes, not characters, and what the client has not taken yet", async () => {
    let slow = 0;
    const socket = createSocket(90);
    const queue = createQueue(socket, () => slow++);
    queue.push(createFrame("éééé"));
    await turn();
    expect([slow, socket.written]).toEqual([0, ["éééé"]]);
    queue.push(createFrame("ééééé"));
    await turn();
    expect([slow, socket.written.length]).toEqual([1, 1]);
  });

  test("takes nothing after it was shut", async () => {
    const socket = createSocket();
    const queue = createQueue(socket, () => undefined);
    queue.push(createFrame("a"));
    queue.shut();
    queue.push(createFrame("b"));
    await turn();
    expect(socket.written).toEqual([]);
  });
});

test("a bucket gives its burst, then so many a second", () => {
  const bucket = new Bucket(2, 1, 0);
  expect([bucket.take(0), bucket.take(0), bucket.take(999), bucket.take(1_000)]).toEqual([
    true,
    true,
    false,
    true,
  ]);
});

describe("the gate", () => {
  test("lets so many work, so many wait, and refuses the rest", async () => {
    const semaphore = new Semaphore({ atWork: 1, waiting: 1, waitMs: 1_000 });
    let finish: () => void = () => undefined;
    const first = semaphore.run(() => new Promise<void>((resolve) => (finish = resolve)));
    const second = semaphore.run(() => Promise.resolve("second"));
    await expect(semaphore.run(() => Promise.resolve("third"))).rejects.toMatchObject({
      code: "unavailable",
    });
    finish();
    await first;
    expect(await second).toBe("second");
    expect(await semaphore.run(() => Promise.resolve("later"))).toBe("later");
  });

  test("lets nobody wait longer than the limit, and keeps no place for who left", async () => {
    const semaphore = new Semaphore({ atWork: 1, waiting: 5, waitMs: 20 });
    let finish: () => void = () => undefined;
    const first = semaphore.run(() => new Promise<void>((resolve) => (finish = resolve)));
    await expect(semaphore.run(() => Promise.resolve())).rejects.toMatchObject({ code: "unavailable" });
    finish();
    await first;
    expect(await semaphore.run(() => Promise.resolve("free"))).toBe("free");
  });
});

describe("the codes", () => {
  test("say by their number whether to come back", () => {
    const back = [
      CLOSE.shutdown,
      CLOSE.internal,
      CLOSE.expired,
      CLOSE.slow,
      CLOSE.insufficientState,
      CLOSE.noPong,
      CLOSE.tooManyRequests,
    ];
    const away = Object.values(CLOSE).filter((close) => !back.some(({ code }) => code === close.code));
    expect(back.every(({ code }) => code < 3_500)).toBe(true);
    expect(away.every(({ code }) => code >= 3_500 && code < 4_000)).toBe(true);
    expect(REPLY_ERROR.internal.temporary).toBe(true);
  });

  test("an order with an unknown number closes for good", () => {
    expect(closeOfCode(3001)).toBe(CLOSE.shutdown);
    expect(closeOfCode(42)).toBe(CLOSE.forceDisconnect);
  });
});

describe("draining", () => {
  test("spreads the closes so that the last is within the window", () => {
    expect(batchSize(10_000, 5_000)).toBe(200);
    expect(batchSize(3, 5_000)).toBe(1);
    expect(batchSize(7, 0)).toBe(7);
  });

  test("closes everybody with shutdown", async () => {
    const codes: number[] = [];
    const connections = new Set<{ close: (close: { code: number }) => void }>();
    for (let n = 0; n < 5; n++) {
      const connection = {
        close: ({ code }: { code: number }) => {
          codes.push(code);
          connections.delete(connection);
        },
      };
      connections.add(connection);
    }
    await drain(connections, 200);
    expect(codes).toEqual([3001, 3001, 3001, 3001, 3001]);
  });
});
