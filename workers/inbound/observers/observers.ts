import { LRUCache } from "lru-cache";
import { errorText } from "../../../shared/contract/errors.ts";
import {
  releaseObserverLease,
  renewObserverLeases,
  acquireObserverLeases,
  type LeasedObserver,
} from "../../../shared/db/observers/observer-lease.ts";
import { every } from "../../../shared/platform/concurrency/every.ts";
import type { ProgressTokens } from "../../../shared/platform/stall/stall-detector.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { runObserver } from "./observer-loop.ts";

const RENEW_EVERY_MS = 2_000;
const ACQUIRE_EVERY_MS = 1_000;
/** Leases that one process acquires at a time: processes that start together share the observers. */
const ACQUIRED_AT_ONCE = 20;
/** Rooms that one observer remembers; others are looked up when they have events. */
const KNOWN_ROOMS_AT_MOST = 10_000;

/** One run of one observer. Each run has a fence of its own: a lost lease of an earlier run does not end a later one. */
type Running = {
  observer: LeasedObserver;
  fence: string;
  abort: AbortController;
  ended: Promise<void>;
  successAtMs: number;
  /** Rounds of its loop, successful or not. */
  rounds: number;
};

export type Observers = {
  /** How long ago the observer of this process that waits longest read something; 0 without observers. */
  silentForMs: () => number;
  /** The same of each observer, by its id. */
  silences: () => [observerId: string, silentForMs: number][];
  /** By observer, a text that changes with each round of its loop. */
  progress: () => ProgressTokens;
  count: () => number;
  stop: () => Promise<void>;
};

/**
 * Runs observers whose lease is free: acquires their leases, renews them, and releases them at the end. A process that was
 * frozen finds its leases lost and stops those runs. A run that ends for any reason releases its lease, so that an
 * observer is soon run again.
 */
export function startObservers(context: WorkerContext): Observers {
  const running = new Set<Running>();
  const warn = (error: unknown) => {
    context.log.warn({ err: error }, "keeping the observers' leases failed");
  };
  const timers = [
    every(RENEW_EVERY_MS, () => renew(context, running), warn),
    every(ACQUIRE_EVERY_MS, () => acquire(context, running), warn),
  ];
  const abortAll = () => {
    for (const run of running) run.abort.abort();
  };
  return {
    count: () => running.size,
    silentForMs: () => Math.max(0, ...[...running].map((run) => performance.now() - run.successAtMs)),
    silences: () =>
      [...running].map((run) => [run.observer.observer_id, performance.now() - run.successAtMs]),
    progress: () =>
      new Map([...running].map((run) => [run.observer.observer_id, `${run.fence} ${run.rounds}`] as const)),
    stop: async () => {
      abortAll();
      await Promise.all(timers.map((timer) => timer.stop()));
      // A lease that was acquired meanwhile.
      abortAll();
      await Promise.all([...running].map((run) => run.ended));
    },
  };
}

/** Renews the leases; a run whose lease is lost stops. */
async function renew(context: WorkerContext, running: ReadonlySet<Running>): Promise<void> {
  const asked = [...running];
  if (asked.length === 0) return;
  const fences = asked.map((run) => run.fence);
  const renewed = new Set(await renewObserverLeases(context.db, fences));
  for (const run of asked) {
    if (renewed.has(run.fence) || run.abort.signal.aborted) continue;
    context.metrics.leaseLost.inc({ lease: "observer" });
    context.log.warn({ observer: run.observer.observer_id }, "the observer's lease ended");
    run.abort.abort();
  }
}

async function acquire(context: WorkerContext, running: Set<Running>): Promise<void> {
  const isStopping = () => context.stopping.aborted;
  if (isStopping()) return;
  for (const { fence, ...observer } of await acquireObserverLeases(context.db, ACQUIRED_AT_ONCE)) {
    // The process may have begun to stop meanwhile.
    if (isStopping()) await releaseObserverLease(context.db, fence);
    else start(context, running, observer, fence);
  }
}

function start(context: WorkerContext, running: Set<Running>, observer: LeasedObserver, fence: string): void {
  context.metrics.leaseTaken.inc({ lease: "observer" });
  const abort = new AbortController();
  const log = context.log.child({ observer: observer.observer_id, tenant: observer.tenant_id });
  const run: Running = {
    observer,
    fence,
    abort,
    ended: Promise.resolve(),
    successAtMs: performance.now(),
    rounds: 0,
  };
  running.add(run);
  const given = {
    observer,
    fence,
    signal: abort.signal,
    known: new LRUCache<string, string>({ max: KNOWN_ROOMS_AT_MOST }),
    reading: { fromStream: context.readsStream, isConfirmed: false, roomsComparedAtMs: null },
  };
  run.ended = runObserver({ ...context, log }, given, (isSuccess) => {
    run.rounds++;
    if (isSuccess) run.successAtMs = performance.now();
  })
    .catch((error: unknown) => {
      log.error({ err: error, why: errorText(error) }, "an observer stopped");
    })
    .then(() => releaseObserverLease(context.db, fence))
    .catch((error: unknown) => {
      log.warn({ err: error }, "releasing an observer's lease failed: it ends by itself");
    })
    .finally(() => {
      running.delete(run);
    });
}
