import { errorText } from "../../shared/contract/errors.ts";
import type { Log } from "../../shared/platform/log.ts";
import type { Connection } from "../session/connection.ts";
import type { Hub } from "./hub.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { ReadRequest, Streams } from "./streams.ts";
import { logDelivery } from "./delivery-log.ts";
import type { Entry, StreamTop } from "./topic-ref.ts";
import type { Topic, TopicMode } from "./topic.ts";

export type CatchUpDeps = {
  hub: Pick<Hub<Connection>, "has" | "invalidate">;
  streams: Pick<Streams, "read" | "tops">;
  metrics: RealtimeMetrics;
  log: Log;
  /** The bytes of a topic that are delivered at once. Subscribers with more unread bytes are waited for. */
  unreadBytes: number;
};

/** Entries of one topic that are read at once. */
const PAGE_ENTRIES = 128;
/** Entries of all topics that one round reads, and rounds that run at once. */
const ROUND_ENTRIES = 512;
const ROUNDS_AT_ONCE = 2;
/** How long a topic waits for subscribers to read before it looks again, and how long in all while it catches up. */
const PAUSE_MS = 20;
const PATIENCE_MS = 2_000;

/** The changes of a topic's mode. `TopicMode` says what the modes are. */
const CHANGES: Record<TopicMode, readonly TopicMode[]> = {
  following: ["waiting"],
  waiting: ["reading", "following"],
  reading: ["waiting", "paused", "following"],
  paused: ["waiting"],
};

/** A topic that catches up; `end` settles `done`. */
type Run = { topic: Topic; pausedMs: number; done: Promise<void>; end: (error?: unknown) => void };
type Page = { run: Run; request: ReadRequest };

/**
 * Brings topics that lack entries up to the newest one that was announced.
 *
 *     following ──an entry is missing──▶ waiting ──its turn──▶ reading ──more is missing──▶ waiting, or paused, then waiting
 *     reading ──nothing is missing; or the read fails; or the entries do not exist──▶ following
 *     waiting ──nothing is missing; or the topic has no subscriber──▶ following
 *
 * - A topic reads one page in its turn, then all others that wait have theirs. A round reads the pages of several topics
 *   together: however many topics are behind, `ROUNDS_AT_ONCE` reads run.
 * - Entries are delivered in order, each once. A page is not delivered on top of what slow subscribers have not read yet,
 *   until the topic's patience ends: then the slow ones are closed, and the others go on.
 * - Only a topic of another epoch, or one whose next entry is neither in Redis nor in Postgres, ends its subscriptions.
 */
export class CatchUp {
  readonly #deps: CatchUpDeps;
  readonly #runs = new Map<Topic, Run>();
  /** The runs of the topics in mode `waiting`, in the order of their turns. */
  readonly #waiting = new Set<Run>();
  #rounds = 0;

  constructor(deps: CatchUpDeps) {
    this.#deps = deps;
  }

  /** Topics that lack entries. */
  get topics(): number {
    return this.#runs.size;
  }

  /**
   * Resolves when everything up to `number` is delivered, or its entries do not exist.
   * @throws the error of Redis or Postgres; the topic keeps its position.
   */
  run(topic: Topic, number: number): Promise<void> {
    topic.seen = Math.max(topic.seen, number);
    return (this.#runs.get(topic) ?? this.#begin(topic)).done;
  }

  /** Like `run`, without waiting. After a failure the next publication or anti-entropy check tries again. */
  start(topic: Topic, number: number): void {
    this.run(topic, number).catch((error: unknown) => {
      this.#deps.log.warn({ reason: errorText(error) }, "catching up failed");
    });
  }

  #begin(topic: Topic): Run {
    let end: Run["end"] = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      end = (error) => {
        if (error === undefined) resolve();
        else reject(error instanceof Error ? error : new Error("catching up failed", { cause: error }));
      };
    });
    const run: Run = { topic, pausedMs: 0, done, end };
    this.#runs.set(topic, run);
    this.#wait(run);
    return run;
  }

  #wait(run: Run): void {
    changeMode(run.topic, "waiting");
    this.#waiting.add(run);
    // The topics of this turn of the event loop share a round.
    queueMicrotask(() => {
      this.#startRounds();
    });
  }

  #pause(run: Run): void {
    changeMode(run.topic, "paused");
    const look = () => {
      run.pausedMs += PAUSE_MS;
      if (this.#isToPause(run)) setTimeout(look, PAUSE_MS);
      else this.#wait(run);
    };
    setTimeout(look, PAUSE_MS);
  }

  /** Whether a subscriber has much to read, and the topic has waited less than its patience. */
  #isToPause({ topic: { subscribers }, pausedMs }: Run): boolean {
    if (pausedMs >= PATIENCE_MS) return false;
    for (const { queueBytes } of subscribers) if (queueBytes > this.#deps.unreadBytes) return true;
    return false;
  }

  #end(run: Run, error?: unknown): void {
    changeMode(run.topic, "following");
    this.#runs.delete(run.topic);
    run.end(error);
  }

  #startRounds(): void {
    while (this.#waiting.size > 0 && this.#rounds < ROUNDS_AT_ONCE) {
      const pages = this.#takeTurns();
      if (pages.length > 0) void this.#round(pages);
    }
  }

  /** Plans the next page of the topics that have waited longest. */
  #takeTurns(): Page[] {
    const pages: Page[] = [];
    let left = ROUND_ENTRIES;
    for (const run of this.#waiting) {
      if (left === 0) break;
      this.#waiting.delete(run);
      const request = this.#deps.hub.has(run.topic) ? planPage(run.topic, left) : null;
      if (request) {
        changeMode(run.topic, "reading");
        left -= request.count;
        pages.push({ run, request });
      } else this.#end(run);
    }
    return pages;
  }

  async #round(pages: readonly Page[]): Promise<void> {
    this.#rounds += 1;
    try {
      const found = await this.#read(pages);
      for (const page of pages) this.#receive(page, found.get(page) ?? { entries: [], top: null });
    } catch (error) {
      for (const { run } of pages) if (run.topic.mode === "reading") this.#end(run, error);
    } finally {
      this.#rounds -= 1;
      this.#startRounds();
    }
  }

  /** Reads pages. One without an entry is read again with its top, which may be of an entry that was just committed. */
  async #read(pages: readonly Page[]): Promise<Map<Page, Found>> {
    const { streams } = this.#deps;
    const first = await streams.read(pages.map(({ request }) => request));
    const found = new Map(pages.map((page, index): [Page, Found] => [page, toFound(first[index])]));
    const empty = pages.filter((page) => found.get(page)?.entries.length === 0);
    if (empty.length === 0) return found;
    const tops = await streams.tops(empty.map(({ run }) => run.topic.ref));
    const again = empty.flatMap((page) => {
      const top = tops.get(page.run.topic.liveChannel) ?? null;
      found.set(page, { entries: [], top });
      const count = Math.min(page.request.count, (top?.number ?? 0) - page.request.after);
      return top?.epoch === page.request.epoch && count > 0 ? [{ page, top, count }] : [];
    });
    const second = await streams.read(again.map(({ page, count }) => ({ ...page.request, count })));
    for (const [index, { page, top }] of again.entries())
      found.set(page, { entries: second[index] ?? [], top });
    return found;
  }

  #receive({ run, request }: Page, { entries, top }: Found): void {
    const { topic } = run;
    if (this.#deps.hub.has(topic) && topic.epoch === request.epoch) {
      if (entries.length === 0) this.#resolveMissing(topic, top);
      else this.#deliver(topic, entries);
    }
    if (!isBehind(topic)) this.#end(run);
    else if (this.#isToPause(run)) this.#pause(run);
    else this.#wait(run);
  }

  /** Delivers a page, or of large entries the first ones: the others are read again. */
  #deliver(topic: Topic, entries: readonly Entry[]): void {
    const { metrics, log, unreadBytes } = this.#deps;
    let bytes = 0;
    for (const entry of entries) {
      if (entry.number !== topic.position + 1) throw new Error("a page does not continue its topic");
      logDelivery({ metrics, log }, topic, entry, topic.deliver(entry));
      bytes += Buffer.byteLength(entry.data);
      if (bytes >= unreadBytes) return;
    }
  }

  /** The next entry of the topic does not exist. */
  #resolveMissing(topic: Topic, top: StreamTop | null): void {
    if (top?.epoch === topic.epoch && top.number <= topic.position) {
      // Nor does an entry that follows: nothing is missing.
      topic.seen = topic.position;
      return;
    }
    this.#deps.metrics.insufficient(topic.subscribers.size);
    this.#deps.hub.invalidate(topic, top);
  }
}

/** What was read of a page. `top` is read when there are no entries. */
type Found = { entries: readonly Entry[]; top: StreamTop | null };

function toFound(entries: readonly Entry[] = []): Found {
  return { entries, top: null };
}

function isBehind({ epoch, position, seen }: Topic): boolean {
  return epoch !== null && position < seen;
}

/** The next page of a topic, `limit` entries at most; null when it lacks nothing. */
function planPage(topic: Topic, limit: number): ReadRequest | null {
  const { ref, epoch, scrubs, position, seen } = topic;
  if (epoch === null || !isBehind(topic)) return null;
  return { ref, epoch, scrubs, after: position, count: Math.min(PAGE_ENTRIES, limit, seen - position) };
}

/** @throws Error for a change that `CHANGES` does not have: a defect of this file. */
function changeMode(topic: Topic, mode: TopicMode): void {
  if (!CHANGES[topic.mode].includes(mode)) throw new Error(`a topic went from ${topic.mode} to ${mode}`);
  topic.mode = mode;
}
