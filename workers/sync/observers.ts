import { errorText } from "../../shared/errors.ts";
import { newFence } from "../../shared/ids.ts";
import {
  releaseObservers,
  renewObservers,
  takeObservers,
  type LeasedObserver,
} from "../../shared/db/sync-positions.ts";
import type { WorkerContext } from "../context.ts";
import { runObserver } from "./observer-loop.ts";

const RENEW_EVERY_MS = 2_000;
const LOOK_EVERY_MS = 1_000;
/** Observers that one process takes at a time: several processes that start together share them out. */
const TAKEN_AT_ONCE = 20;

type Running = { observer: LeasedObserver; abort: AbortController; ended: Promise<void> };

export type Observers = {
  /** Of the observers of this process: how long ago the least successful one read something, in milliseconds. */
  silentForMs: () => number;
  count: () => number;
  stop: () => Promise<void>;
};

/**
 * Runs the observers that nobody else runs: takes their leases, renews them, and gives them up on the way out. A
 * process that was frozen finds its leases gone and stops reading with them.
 */
export function startObservers(context: WorkerContext): Observers {
  const fence = newFence();
  const running = new Map<string, Running>();
  const successAtMs = new Map<string, number>();

  const start = (observer: LeasedObserver) => {
    const abort = new AbortController();
    const id = observer.observer_id;
    successAtMs.set(id, performance.now());
    const log = context.log.child({ observer: id, tenant: observer.tenant_id });
    const ended = runObserver({ ...context, log }, { observer, fence, signal: abort.signal, roomIds: new Map() }, () => {
      successAtMs.set(id, performance.now());
    })
      .catch((error: unknown) => {
        log.error({ err: error, why: errorText(error) }, "an observer stopped");
      })
      .finally(() => {
        if (running.get(id)?.abort === abort) {
          running.delete(id);
          successAtMs.delete(id);
        }
      });
    running.set(id, { observer, abort, ended });
  };

  const renew = async () => {
    const held = new Set(await renewObservers(context.db, fence));
    for (const [id, run] of running) {
      if (held.has(id)) continue;
      context.metrics.leaseLost.inc({ lease: "observer" });
      context.log.warn({ observer: id }, "the observer's lease ended");
      run.abort.abort();
    }
  };

  const look = async () => {
    for (const observer of await takeObservers(context.db, fence, TAKEN_AT_ONCE)) {
      context.metrics.observerTaken.inc();
      start(observer);
    }
  };

  const timers = [every(RENEW_EVERY_MS, renew, context), every(LOOK_EVERY_MS, look, context)];
  return {
    count: () => running.size,
    silentForMs: () => Math.max(0, ...[...successAtMs.values()].map((atMs) => performance.now() - atMs)),
    stop: async () => {
      for (const timer of timers) clearInterval(timer);
      for (const run of running.values()) run.abort.abort();
      await Promise.all([...running.values()].map((run) => run.ended));
      await releaseObservers(context.db, fence);
    },
  };
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
