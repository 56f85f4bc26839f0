import type { Db } from "../../../shared/db/connection/open.ts";
import type { Log } from "../../../shared/platform/log.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import { createBreaker, type Breaker } from "./breaker.ts";
import type { MatrixCall, Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import type { Homeserver } from "./homeserver.ts";
import { openHomeserver } from "./open-homeserver.ts";
import type { WorkerMetrics } from "../../runtime/metrics.ts";

export type HomeserverPool = {
  get: (homeserverId: string) => Promise<Homeserver>;
  openBreakers: () => number;
};

/**
 * The homeservers of this process, each opened when first needed. Every call passes the homeserver's breaker and is
 * measured. `onRecovered` is called when a homeserver responds again.
 */
export function openHomeserverPool(options: {
  db: Db;
  sealKeys: readonly SealKey[];
  metrics: WorkerMetrics;
  log: Log;
  onRecovered: (homeserverId: string) => void;
}): HomeserverPool {
  const opened = new Map<string, Promise<{ homeserver: Homeserver; breaker: Breaker }>>();
  const breakers: Breaker[] = [];
  const open = async (id: string) => {
    const breaker = createBreaker({
      open: () => {
        options.metrics.breakerOpen.inc();
        options.log.error({ homeserver: id }, "the homeserver does not respond: calls are refused");
      },
      close: () => {
        options.log.info({ homeserver: id }, "the homeserver responds again");
        options.onRecovered(id);
      },
    });
    const homeserver = await openHomeserver(options.db, options.sealKeys, id);
    breakers.push(breaker);
    return { breaker, homeserver: guardHomeserver(homeserver, breaker, options.metrics) };
  };
  return {
    openBreakers: () => breakers.filter((breaker) => breaker.isOpen()).length,
    get: async (id) => {
      const pending = opened.get(id) ?? open(id);
      opened.set(id, pending);
      try {
        return (await pending).homeserver;
      } catch (error) {
        opened.delete(id);
        throw error;
      }
    },
  };
}

function guardHomeserver(homeserver: Homeserver, breaker: Breaker, metrics: WorkerMetrics): Homeserver {
  const guard = (request: Requester) => guardOf(measured(request, metrics), breaker);
  return { ...homeserver, as: async (matrixUserId) => guard(await homeserver.as(matrixUserId)) };
}

/** A long poll passes no breaker: it lasts half a minute, too long for the call that finds out whether the homeserver is back. */
export function guardOf(request: Requester, breaker: Breaker): Requester {
  const guarded = breaker.guard(request);
  return (call) => (isLongPoll(call) ? request(call) : guarded(call));
}

function isLongPoll({ path }: MatrixCall): boolean {
  return path === "/sync" || path === "/events";
}

function measured(request: Requester, metrics: WorkerMetrics): Requester {
  return async (call) => {
    const end = isLongPoll(call) ? null : metrics.matrixCallSeconds.startTimer();
    try {
      return await request(call);
    } catch (error) {
      if (error instanceof MatrixFailure) metrics.matrixFailures.inc({ kind: error.kind });
      throw error;
    } finally {
      end?.();
    }
  };
}
