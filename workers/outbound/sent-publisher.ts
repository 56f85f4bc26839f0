import type { Log } from "../../shared/platform/log.ts";
import { publishSent } from "../../shared/timeline/publish-sent.ts";
import type { Publishing } from "../../shared/timeline/publish.ts";
import type { WorkerMetrics } from "../runtime/metrics.ts";

/** Publishes how far Matrix has rooms, soon after messages of theirs were seen or died. */
export type SentPublisher = {
  /** The number of these rooms may have risen: the first time at once, then once a second. */
  add: (roomIds: Iterable<string>) => void;
  stop: () => Promise<void>;
};

const EVERY_MS = 1_000;
const LEAST_PAUSE_MS = 10;
const ROOMS_AT_ONCE = 500;
/** Beyond that the sweeper finds them. */
const ROOMS_AT_MOST = 20_000;

/**
 * Gives the rooms that are added to `publish`, each at once, but no more often than every second: what is added in between is
 * published at its end, so that the last number always comes. One batch runs at a time. What fails is reported and not
 * repeated, because it stays due in Postgres, where the sweeper finds it.
 */
export function createSentPublisher(
  publish: (roomIds: string[]) => Promise<unknown>,
  onError: (error: unknown) => void,
): SentPublisher {
  const waiting = new Set<string>();
  /** Until when rooms rest that were published. */
  const restsUntilMs = new Map<string, number>();
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let isStopped = false;

  const take = () => takeReady(waiting, restsUntilMs, performance.now());
  const publishReady = async () => {
    for (let ready = take(); ready.length > 0 && !isStopped; ready = take())
      await publish(ready).catch(onError);
  };
  const start = () => {
    if (running !== null || isStopped) return;
    running = publishReady().finally(() => {
      running = null;
      startLater();
    });
  };
  const startLater = () => {
    if (running !== null || timer !== null || waiting.size === 0 || isStopped) return;
    const [nextMs = 0] = restsUntilMs.values();
    timer = setTimeout(
      () => {
        timer = null;
        start();
      },
      Math.max(LEAST_PAUSE_MS, nextMs - performance.now()),
    ).unref();
  };
  return {
    add: (roomIds) => {
      const nowMs = performance.now();
      let isReady = false;
      for (const roomId of roomIds) {
        if (waiting.size >= ROOMS_AT_MOST) break;
        waiting.add(roomId);
        isReady ||= (restsUntilMs.get(roomId) ?? 0) <= nowMs;
      }
      if (isReady) start();
      else startLater();
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer ?? undefined);
      await running;
    },
  };
}

/** Takes the rooms that wait and do not rest. They rest from now on. */
function takeReady(waiting: Set<string>, restsUntilMs: Map<string, number>, nowMs: number): string[] {
  // In the order in which they were set: the first one that still rests ends the search.
  for (const [roomId, untilMs] of restsUntilMs) {
    if (untilMs > nowMs) break;
    restsUntilMs.delete(roomId);
  }
  const ready = [...waiting].filter((roomId) => !restsUntilMs.has(roomId)).slice(0, ROOMS_AT_ONCE);
  for (const roomId of ready) {
    waiting.delete(roomId);
    restsUntilMs.set(roomId, nowMs + EVERY_MS);
  }
  return ready;
}

/** The publisher of a process. */
export function openSentPublisher({
  db,
  redis,
  metrics,
  log,
}: Publishing & { metrics: Pick<WorkerMetrics, "sentPublished">; log: Log }): SentPublisher {
  return createSentPublisher(
    async (roomIds) => {
      metrics.sentPublished.inc(await publishSent({ db, redis }, roomIds));
    },
    (error) => {
      log.warn({ err: error }, "publishing how far Matrix has rooms failed: the sweeper repeats it");
    },
  );
}
