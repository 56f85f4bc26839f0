import { expect, test } from "@jest/globals";
import { createAcceptBatcher } from "../../api/accept/accept-batcher.ts";
import { createMessageQuota } from "../../api/rate-limit/message-quota.ts";
import { createLongPoll, readPreferredWaitS } from "../../api/http/long-poll.ts";
import type {
  Acceptance,
  Accepted,
  NewMessage,
  Written,
} from "../../shared/db/messages/accept/accept-messages.ts";
import { until } from "../support/wait.ts";
import type { MessageRow } from "../../shared/db/messages/messages.ts";

const message = (text: string, slug = "g"): NewMessage => ({
  tenantId: "t",
  user: "ada",
  room: { kind: "group", slug },
  content: { kind: "text", text },
  clientId: null,
  requestHash: null,
  stamp: null,
});
const refused: Acceptance = { outcome: "no_such_room" };
// Neither the batcher nor the quota reads messages.
const someMessage = {} as MessageRow;
const accepted: Accepted = { outcome: "accepted", message: someMessage, entry: {} as Accepted["entry"] };

test("the batcher writes a lone message at once, and messages that arrive during the write together", async () => {
  const sizes: number[] = [];
  let open: () => void = () => undefined;
  const firstWrite = new Promise<void>((resolve) => {
    open = resolve;
  });
  const accept = createAcceptBatcher(
    async (batch) => {
      sizes.push(batch.length);
      if (sizes.length === 1) await firstWrite;
      return batch.map(() => refused);
    },
    () => undefined,
    () => 0,
  );
  const first = accept(message("1"));
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const rest = ["2", "3", "4"].map((text) => accept(message(text)));
  open();
  await Promise.all([first, ...rest]);
  expect(sizes).toEqual([1, 3]);
});

test("after a deadlock the batcher writes the messages one by one, and only the faulty one fails", async () => {
  const accept = createAcceptBatcher(
    (batch) => {
      if (batch.length > 1) return Promise.reject(Object.assign(new Error("deadlock"), { code: "40P01" }));
      if (batch[0]?.content.text === "bad") return Promise.reject(new Error("bad"));
      return Promise.resolve(batch.map(() => refused));
    },
    () => undefined,
    () => 0,
  );
  const outcomes = await Promise.allSettled(["good", "bad", "fine"].map((text) => accept(message(text))));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

/** A write that finds the rooms in `held` locked, and says how often it was asked for each. */
function createWriteWithLocks(held: ReadonlySet<string>) {
  const written: string[] = [];
  const tries: { slug: string; skipsLocked: boolean }[] = [];
  const write = async (batch: readonly NewMessage[], { skipsLocked }: { skipsLocked: boolean }) => {
    await new Promise((resolve) => setImmediate(resolve));
    return batch.map(({ room: { slug }, content }): Written => {
      tries.push({ slug, skipsLocked });
      if (held.has(slug)) return { outcome: "room_locked" };
      written.push(content.text);
      return refused;
    });
  };
  return { written, tries, write };
}

test("a locked room delays no other room of its batch, and waits for its lock by itself", async () => {
  const held = new Set(["held"]);
  const { write, tries } = createWriteWithLocks(held);
  const accept = createAcceptBatcher(
    write,
    () => undefined,
    () => 0,
  );
  const waiting = accept(message("1", "held"));
  await accept(message("1", "free"));
  expect(tries).toEqual([
    { slug: "held", skipsLocked: true },
    { slug: "free", skipsLocked: true },
  ]);
  await until(() => tries.length > 3, "the held room is tried again");
  held.clear();
  await waiting;
  expect(tries[2]).toEqual({ slug: "held", skipsLocked: true });
  expect(tries.slice(3).every((it) => it.slug === "held" && !it.skipsLocked)).toBe(true);
  await accept(message("2", "held"));
  expect(tries.at(-1)).toEqual({ slug: "held", skipsLocked: true });
});

test("locked rooms do not delay the messages of other rooms, and keep the order of their own", async () => {
  const held = new Set(Array.from({ length: 20 }, (_, index) => `held-${index}`));
  const { write, written } = createWriteWithLocks(held);
  const accept = createAcceptBatcher(
    write,
    () => undefined,
    () => 0,
  );
  const waiting = [...held].map((slug) => accept(message(`${slug}: 1`, slug)));
  await accept(message("free: 1", "free"));
  waiting.push(...[...held].map((slug) => accept(message(`${slug}: 2`, slug))));
  await accept(message("free: 2", "free"));
  expect(written).toEqual(["free: 1", "free: 2"]);
  const slugs = [...held];
  held.clear();
  await Promise.all(waiting);
  for (const slug of slugs) {
    expect(written.filter((text) => text.startsWith(`${slug}:`))).toEqual([`${slug}: 1`, `${slug}: 2`]);
  }
});

test("a message that waits for a locked room for ten seconds is refused as unavailable", async () => {
  let nowMs = 0;
  const accept = createAcceptBatcher(
    createWriteWithLocks(new Set(["g"])).write,
    () => undefined,
    () => nowMs,
  );
  const waiting = accept(message("1"));
  await accept(message("1", "free"));
  nowMs = 10_000;
  await expect(waiting).rejects.toMatchObject({ code: "unavailable", retryAfterMs: 1_000 });
});

test("a locked room queues a thousand messages at most, and takes no place from other rooms", async () => {
  const held = new Set(["g"]);
  const accept = createAcceptBatcher(
    createWriteWithLocks(held).write,
    () => undefined,
    () => 0,
  );
  const all = Array.from({ length: 1_001 }, (_, index) => accept(message(String(index))));
  await expect(all.pop()).rejects.toMatchObject({ code: "unavailable" });
  expect(await accept(message("1", "free"))).toBe(refused);
  held.clear();
  expect(await Promise.all(all)).toHaveLength(1_000);
});

test("the batcher refuses more than 4,000 waiting messages as unavailable", async () => {
  const accept = createAcceptBatcher(
    () => new Promise(() => undefined),
    () => undefined,
    () => 0,
  );
  const last = Array.from({ length: 4_001 }, (_, index) => accept(message(String(index)))).at(-1);
  await expect(last).rejects.toMatchObject({ code: "unavailable", retryAfterMs: 1_000 });
});

test("a quota counts the messages that it accepted since it last read the count", async () => {
  let nowMs = 1_000;
  const withinQuota = createMessageQuota(
    () => Promise.resolve(8),
    () => nowMs,
  );
  const ask = () => withinQuota("t", 10, () => Promise.resolve(accepted));
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([accepted, accepted, null]);
  nowMs = 2_001;
  expect(await ask()).toBe(accepted);
});

test("a refused, a replayed and a failed message do not count against a quota", async () => {
  const withinQuota = createMessageQuota(
    () => Promise.resolve(8),
    () => 0,
  );
  const ask = (outcome: () => Promise<Acceptance>) => withinQuota("t", 10, outcome);
  for (let index = 0; index < 5; index++) {
    await ask(() => Promise.resolve(refused));
    await ask(() => Promise.resolve({ outcome: "replayed", message: someMessage }));
    await ask(() => Promise.reject(new Error("failed"))).catch(() => undefined);
  }
  expect(await ask(() => Promise.resolve(accepted))).toBe(accepted);
  expect(await ask(() => Promise.resolve(accepted))).toBe(accepted);
  expect(await ask(() => Promise.resolve(accepted))).toBeNull();
});

test.each([
  ["wait=5", 5],
  ["respond-async, wait=10", 10],
  ['wait="7"; foo', 7],
  ["wait=99", 30],
  ["wait=-1", 0],
  ["waiting=5", 0],
  ["", 0],
])("of the preference %j, %d seconds are kept", (prefer, seconds) => {
  expect(readPreferredWaitS(prefer)).toBe(seconds);
});

test("a long poll ends when the caller disconnects", async () => {
  const controller = new AbortController();
  const wait = createLongPoll();
  const waiting = wait(
    0,
    () => Promise.resolve(0),
    () => false,
    { waitS: 30, signal: controller.signal, tenantId: "t", places: 1 },
  );
  controller.abort();
  expect(await waiting).toEqual({ value: 0, isKept: true });
});

test("a tenant waits in no more places than it has, nor than are still free, and others find one", async () => {
  const controller = new AbortController();
  const longPoll = createLongPoll();
  const wait = (tenantId: string, { places = 1_000, isFinal = false } = {}) =>
    longPoll(
      "first",
      () => Promise.resolve("read"),
      () => isFinal,
      { waitS: 30, signal: controller.signal, tenantId, places },
    );
  const refused = { value: "first", isKept: false };
  const few = [wait("few", { places: 2 }), wait("few", { places: 2 })];
  expect(await wait("few", { places: 2 })).toEqual(refused);
  const greedy = Array.from({ length: 600 }, () => wait("greedy"));
  expect(await greedy.at(-1)).toEqual(refused);
  const others = Array.from({ length: 20 }, (_, index) => wait(`other ${String(index)}`));
  // What needs no wait needs no place.
  expect(await wait("greedy", { isFinal: true })).toEqual({ value: "first", isKept: true });
  controller.abort();
  const kept = async (waits: typeof greedy) =>
    (await Promise.all(waits)).filter(({ isKept }) => isKept).length;
  expect([await kept(few), await kept(greedy), await kept(others)]).toEqual([2, 249, 20]);
  expect(await wait("few", { places: 1 })).toMatchObject({ isKept: true });
});
