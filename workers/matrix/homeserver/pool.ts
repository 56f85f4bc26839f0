import type { HomeserverStatus } from "../../../shared/db/homeservers/homeserver-states.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { Log } from "../../../shared/platform/log.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import { createBreaker, type Breaker } from "./breaker.ts";
import { createConnection, type MatrixCall, type Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import type { Homeserver } from "./homeserver.ts";
import { openHomeserver } from "./open-homeserver.ts";
import { createTenantTurns, isSlowCall, type TenantTurns } from "./tenant-turns.ts";
import { watchHomeserver, type HomeserverWatch } from "./watch.ts";
import type { WorkerMetrics } from "../../runtime/metrics.ts";

/**
 * Slow calls that one process makes to one homeserver at a time. Two keep a Synapse process busy; with more, each lasts
 * longer, and with it the wait of the tenant whose turn is next.
 */
const SLOW_CALLS_AT_ONCE = 2;

export type HomeserverPool = {
  /** With a tenant, its slow calls take turns with those of the homeserver's other tenants. */
  get: (homeserverId: string, tenantId?: string) => Promise<Homeserver>;
  openBreakers: () => number;
  /** Every homeserver opened so far, by row id. */
  statuses: () => readonly (readonly [string, HomeserverStatus])[];
  close: () => void;
};

type PoolOptions = {
  db: Db;
  sealKeys: readonly SealKey[];
  metrics: WorkerMetrics;
  log: Log;
  /** Called when a homeserver responds again. */
  onRecovered: (homeserverId: string) => void;
};

type Opened = {
  id: string;
  homeserver: Homeserver;
  breaker: Breaker;
  turns: TenantTurns;
  watch: HomeserverWatch;
};

/**
 * The homeservers of this process, each opened when first needed. Every call passes the homeserver's breaker and is
 * measured. Each homeserver is watched from then on: while it is down, its breaker refuses every call.
 */
export function openHomeserverPool(options: PoolOptions): HomeserverPool {
  const pending = new Map<string, Promise<Opened>>();
  const opened: Opened[] = [];
  const open = async (id: string): Promise<Opened> => {
    const one = await openWatched(options, id);
    opened.push(one);
    return one;
  };
  return {
    openBreakers: () => opened.filter(({ breaker }) => breaker.openSinceMs() !== null).length,
    statuses: () => opened.map((one) => [one.id, statusOf(one)] as const),
    close: () => {
      for (const { watch } of opened) watch.stop();
    },
    get: async (id, tenantId) => {
      const one = pending.get(id) ?? open(id);
      pending.set(id, one);
      try {
        const found = await one;
        return tenantId === undefined ? found.homeserver : takeTurns(found, tenantId);
      } catch (error) {
        pending.delete(id);
        throw error;
      }
    },
  };
}

function takeTurns(
  { homeserver, breaker, turns }: Pick<Opened, "homeserver" | "breaker" | "turns">,
  tenantId: string,
): Homeserver {
  // While the breaker is open, a call is refused at once: it waits for none of those that hang.
  const inTurn = <T>(work: () => Promise<T>) =>
    breaker.openSinceMs() === null ? turns.run(tenantId, work) : work();
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

async function openWatched(
  { db, sealKeys, metrics, log: poolLog, onRecovered }: PoolOptions,
  id: string,
): Promise<Opened> {
  const log = poolLog.child({ homeserver: id });
  let watch: HomeserverWatch | null = null;
  const isDown = () => watch?.status().state === "down";
  const turns = createTenantTurns(SLOW_CALLS_AT_ONCE);
  const breaker = createBreaker({
    open: () => {
      turns.startAll();
      metrics.breakerOpen.inc();
      if (!isDown()) log.error("five calls to the homeserver in a row had no answer: calls are refused");
    },
    close: () => {
      log.info("calls to the homeserver are made again");
      onRecovered(id);
    },
  });
  const wrap = (request: Requester) => guardOf(measured(request, metrics), breaker);
  const homeserver = await openHomeserver(db, sealKeys, id, wrap);
  const { baseUrl } = homeserver;
  watch = watchHomeserver({
    request: countFailures(createConnection({ baseUrl, accessToken: null })({}), metrics),
    homeserver,
    onChange: (status, before) => {
      logChange(log, status, before);
      if (status.state === "down") breaker.hold();
      else breaker.release();
    },
  });
  return { id, homeserver, breaker, turns, watch };
}

/** One line for each change, with the time since when. */
function logChange(log: Log, { state, since, detail }: HomeserverStatus, before: HomeserverStatus): void {
  if (state === "up")
    log.info({ state, was: before.state, wasSince: before.since }, "the homeserver is up again");
  else log.error({ state, since }, detail ?? "the homeserver does not serve us");
}

/** The homeserver as the looks and the calls show it. */
function statusOf({ watch, breaker }: Pick<Opened, "watch" | "breaker">): HomeserverStatus {
  const status = watch.status();
  const openSinceMs = breaker.openSinceMs();
  if (openSinceMs === null || status.state === "down") return status;
  const detail = "The homeserver does not answer: five calls in a row had no answer.";
  return { state: "down", since: new Date(openSinceMs), detail };
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
  const counted = countFailures(request, metrics);
  return async (call) => {
    const end = isLongPoll(call) ? null : metrics.matrixCallSeconds.startTimer();
    try {
      return await counted(call);
    } finally {
      end?.();
    }
  };
}

function countFailures(request: Requester, metrics: WorkerMetrics): Requester {
  return async (call) => {
    try {
      return await request(call);
    } catch (error) {
      if (error instanceof MatrixFailure) metrics.matrixFailures.inc({ kind: error.kind });
      throw error;
    }
  };
}
