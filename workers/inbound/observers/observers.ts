import { errorText } from "../../../shared/contract/errors.ts";
import {
  releaseObserverLease,
  renewObserverLeases,
  acquireObserverLeases,
  type LeasedObserver,
} from "../../../shared/db/observers/observer-lease.ts";
import type { ProgressTokens } from "../../../shared/platform/stall/stall-detector.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import { runObserver } from "./observer-loop.ts";

const RENEW_EVERY_MS = 2_000;
const LOOK_EVERY_MS = 1_000;
/** Observers that one process takes at a time: several processes that start together share them out. */
const TAKEN_AT_ONCE = 20;

/** One taking of one observer. Its fence is its own: what became of an earlier taking says nothing of this one. */
type Running = {
  observer: LeasedObserver;
  fence: string;
  abort: AbortController;
  ended: Promise<void>;
  successAtMs: number;
  /** How often its loop came around. */
  turns: number;
};

export type Observers = {
  /** Of the observers of this process: how long ago the least successful one read something, in milliseconds. */
  silentForMs: () => number;
  /** The same of each, by its id. */
  silences: () => [observerId: string, silentForMs: number][];
  /** Of each, by its id, what is another text after each turn of its loop. */
  turns: () => ProgressTokens;
  count: () => number;
  stop: () => Promise<void>;
};

/**
 * Runs the observers that nobody else runs: takes their leases, renews them, and gives them up on the way out. A
 * process that was frozen finds its leases gone and stops reading with them; a reader that ends for any reason gives
 * its observer up, so that somebody takes it again.
 */
export function startObservers(context: WorkerContext): Observers {
  const running = new Set<Running>();
  const timers = [
    every(RENEW_EVERY_MS, () => renew(context, running), context),
    every(LOOK_EVERY_MS, () => look(context, running), context),
  ];
  return {
    count: () => running.size,
    silentForMs: () => Math.max(0, ...[...running].map((run) => performance.now() - run.successAtMs)),
    silences: () =>
      [...running].map((run) => [run.observer.observer_id, performance.now() - run.successAtMs]),
    turns: () =>
      new Map([...running].map((run) => [run.observer.observer_id, `${run.fence} ${run.turns}`] as const)),
    stop: async () => {
      for (const timer of timers) clearInterval(timer);
      for (const run of running) run.abort.abort();
      await Promise.all([...running].map((run) => run.ended));
    },
  };
}

/** Leases that are not ours any more: whoever reads under one stops. */
async function renew(context: WorkerContext, running: ReadonlySet<Running>): Promise<void> {
  const asked = [...running];
  if (asked.length === 0) return;
  const held = new Set(
    await renewObserverLeases(
      context.db,
      asked.map((run) => run.fence),
    ),
  );
  for (const run of asked) {
    if (held.has(run.fence) || run.abort.signal.aborted) continue;
    context.metrics.leaseLost.inc({ lease: "observer" });
    context.log.warn({ observer: run.observer.observer_id }, "the observer's lease ended");
    run.abort.abort();
  }
}

async function look(context: WorkerContext, running: Set<Running>): Promise<void> {
  const isStopping = () => context.stopping.aborted;
  if (isStopping()) return;
  for (const { fence, ...observer } of await acquireObserverLeases(context.db, TAKEN_AT_ONCE)) {
    // Asked to stop while taking: nobody would read.
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
    turns: 0,
  };
  running.add(run);
  const given = {
    observer,
    fence,
    signal: abort.signal,
    known: new Map<string, string>(),
    reading: { fromStream: context.readsStream, isConfirmed: false },
  };
  run.ended = runObserver({ ...context, log }, given, (isSuccess) => {
    run.turns++;
    if (isSuccess) run.successAtMs = performance.now();
  })
    .catch((error: unknown) => {
      log.error({ err: error, why: errorText(error) }, "an observer stopped");
    })
    // Until it is free, nobody can take it: a lease that cannot be given back now ends by itself.
    .then(() => releaseObserverLease(context.db, fence))
    .catch((error: unknown) => {
      log.warn({ err: error }, "giving an observer up failed: its lease ends by itself");
    })
    .finally(() => {
      running.delete(run);
    });
}

function every(ms: number, work: () => Promise<void>, context: WorkerContext): NodeJS.Timeout {
  let isBusy = false;
  return setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    work()
      .catch((error: unknown) => {
        context.log.warn({ err: error }, "looking after observers failed");
      })
      .finally(() => {
        isBusy = false;
      });
  }, ms);
}
