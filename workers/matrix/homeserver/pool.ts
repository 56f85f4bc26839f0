import type { Db } from "../../../shared/db/connection/open.ts";
import type { Log } from "../../../shared/platform/log.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import { createBreaker, type Breaker } from "./breaker.ts";
import type { MatrixCall, Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import type { Homeserver } from "./homeserver.ts";
import { openHomeserver } from "./open-homeserver.ts";
import { createTenantTurns, isSlowCall, type TenantTurns } from "./tenant-turns.ts";
import type { WorkerMetrics } from "../../runtime/metrics.ts";

/**
 * Slow calls that one process makes to one homeserver at a time. A Synapse process is busy with fewer. As many as open
 * the breaker when none of them is answered.
 */
const SLOW_CALLS_AT_ONCE = 5;

export type HomeserverPool = {
  /** With a tenant, its slow calls take turns with those of the homeserver's other tenants. */
  get: (homeserverId: string, tenantId?: string) => Promise<Homeserver>;
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
  const opened = new Map<string, Promise<Opened>>();
  const breakers: Breaker[] = [];
  const open = async (id: string): Promise<Opened> => {
    const turns = createTenantTurns(SLOW_CALLS_AT_ONCE);
    const breaker = createBreaker({
      open: () => {
        turns.startAll();
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
    return { breaker, turns, homeserver: guardHomeserver(homeserver, breaker, options.metrics) };
  };
  return {
    openBreakers: () => breakers.filter((breaker) => breaker.isOpen()).length,
    get: async (id, tenantId) => {
      const pending = opened.get(id) ?? open(id);
      opened.set(id, pending);
      try {
        const found = await pending;
        return tenantId === undefined ? found.homeserver : takeTurns(found, tenantId);
      } catch (error) {
        opened.delete(id);
        throw error;
      }
    },
  };
}

type Opened = { homeserver: Homeserver; breaker: Breaker; turns: TenantTurns };

function takeTurns({ homeserver, breaker, turns }: Opened, tenantId: string): Homeserver {
  // While the breaker is open, a call is refused at once: it waits for none of those that hang.
  const inTurn = <T>(work: () => Promise<T>) => (breaker.isOpen() ? work() : turns.run(tenantId, work));
  return {
    ...homeserver,
    as: async (matrixUserId) => {
      const request = await homeserver.as(matrixUserId);
      return (call) => (isSlowCall(call) ? inTurn(() => request(call)) : request(call));
    },
    ensureAccount: (matrixUserId) => inTurn(() => homeserver.ensureAccount(matrixUserId)),
    removeAccount: (matrixUserId) => inTurn(() => homeserver.removeAccount(matrixUserId)),
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
