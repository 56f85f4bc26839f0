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

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("the outbound queue", () => {
  test("the frames of one turn of the event loop are written at once, joined by newlines", async () => {
    const socket = createSocket();
    const queue = createQueue(socket, () => undefined);
    queue.push(createFrame("a"));
    queue.push(createFrame("b"));
    expect(socket.written).toEqual([]);
    await nextTurn();
    queue.push(createFrame("c"));
    await nextTurn();
    expect(socket.written).toEqual(["a\nb", "c"]);
  });

  test("the queue counts bytes, not characters, with the bytes that the client has not read yet", async () => {
    let slow = 0;
    const socket = createSocket(90);
    const queue = createQueue(socket, () => slow++);
    queue.push(createFrame("éééé"));
    await nextTurn();
    expect([slow, socket.written]).toEqual([0, ["éééé"]]);
    queue.push(createFrame("ééééé"));
    await nextTurn();
    expect([slow, socket.written.length]).toEqual([1, 1]);
  });

  test("a queue that was shut writes nothing", async () => {
    const socket = createSocket();
    const queue = createQueue(socket, () => undefined);
    queue.push(createFrame("a"));
    queue.shut();
    queue.push(createFrame("b"));
    await nextTurn();
    expect(socket.written).toEqual([]);
  });
});

test("a bucket allows its burst, then its rate per second", () => {
  const bucket = new Bucket(2, 1, 0);
  expect([bucket.take(0), bucket.take(0), bucket.take(999), bucket.take(1_000)]).toEqual([
    true,
    true,
    false,
    true,
  ]);
});

describe("the semaphore", () => {
  test("the semaphore runs as many calls as it has permits, queues as many as may wait and refuses the others", async () => {
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

  test("a call that waits longer than the limit is refused, and its place becomes free", async () => {
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
  test("a close code below 3500 asks the client to reconnect, one from 3500 does not", () => {
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

  test("a control message with an unknown code closes the connection for good", () => {
    expect(closeOfCode(3001)).toBe(CLOSE.shutdown);
    expect(closeOfCode(42)).toBe(CLOSE.forceDisconnect);
  });
});

describe("draining", () => {
  test("the closes are spread so that the last one is within the window", () => {
    expect(batchSize(10_000, 5_000)).toBe(200);
    expect(batchSize(3, 5_000)).toBe(1);
    expect(batchSize(7, 0)).toBe(7);
  });

  test("every connection is closed with the code shutdown", async () => {
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
