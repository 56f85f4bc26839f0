import { nameNetwork } from "../../shared/auth/client-address.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { limitKey } from "../../shared/platform/redis-keys.ts";
import type { Counter } from "../../shared/platform/metrics.ts";
import type { Caller } from "../auth/authenticate.ts";
import type { Bound, SharedCounters } from "./shared-counters.ts";

const WINDOW_S = 10;
/** Requests of one address in a window that have no valid credential. */
const MAX_UNAUTHENTICATED = 300;
const LOGIN_WINDOW_S = 60;
/** Logins to the operators' pages in a window: from one address, and with one key. */
const MAX_LOGINS_PER_ADDRESS = 20;
const MAX_LOGINS_PER_KEY = 10;

/** Limits of a person in one room, in a window. */
const ROOM_LIMITS = { acts: "roomActs", signs: "roomSigns" } as const;
export type RoomLimit = keyof typeof ROOM_LIMITS;

/** The room of a call that has such a limit. */
export type LimitedCall = { limit: RoomLimit; room: string };

type LimitName = RoomLimit | "user" | "key" | "tenant" | "address" | "login";
type NamedBound = Bound & { limit: LimitName };

/** Rate limits. An address stands for its network. Each function throws AppError `rate_limited`, with the time to wait. */
export type RateLimits = {
  /**
   * Counts a request with a valid credential under its user or key, and under its tenant. `limited`: under the person in that room
   * instead, and among all such calls of the person.
   */
  countRequest: (caller: Caller, limited?: LimitedCall | null) => Promise<void>;
  /** Counts a request without a valid credential. */
  countUnauthenticated: (address: string) => Promise<void>;
  /** Refuses an address that has used up its requests without a valid credential, as far as this process knows. */
  requireUnauthenticated: (address: string) => void;
  countLogin: (address: string, key: string) => Promise<void>;
};

export function createRateLimits(
  { countAll, waitMs }: SharedCounters,
  refused: Counter<"limit">,
): RateLimits {
  const refuse = (limit: LimitName, retryAfterMs: number): AppError => {
    refused.inc({ limit });
    return new AppError("rate_limited", "Too many requests. Wait as long as Retry-After says.", {
      retryAfterMs,
    });
  };
  const require = async (bounds: readonly NamedBound[]): Promise<void> => {
    const waits = await countAll(bounds);
    const longestMs = Math.max(...waits);
    const over = bounds[waits.indexOf(longestMs)];
    if (over && longestMs > 0) throw refuse(over.limit, longestMs);
  };
  return {
    countRequest: (caller, limited = null) => require(boundsOf(caller, limited)),
    countUnauthenticated: (address) => require([unauthenticatedBound(address)]),
    requireUnauthenticated: (address) => {
      const leftMs = waitMs(unauthenticatedBound(address));
      if (leftMs > 0) throw refuse("address", leftMs);
    },
    countLogin: (address, key) => require(loginBounds(address, key)),
  };
}

function unauthenticatedBound(address: string): NamedBound {
  const key = limitKey(nameNetwork(address), "stranger");
  return { limit: "address", key, most: MAX_UNAUTHENTICATED, windowS: WINDOW_S };
}

function boundsOf(caller: Caller, limited: LimitedCall | null): NamedBound[] {
  const { tenantId, limits } = caller;
  const all = limitKey(tenantId, "tenant");
  return [
    ...ownBounds(caller, limited),
    { limit: "tenant", key: all, most: limits.tenantRequests, windowS: WINDOW_S },
  ];
}

function ownBounds({ tenantId, limits, ...caller }: Caller, limited: LimitedCall | null): NamedBound[] {
  const bound = (limit: LimitName, what: string, most: number): NamedBound => ({
    ...{ limit, most, key: limitKey(tenantId, what), windowS: WINDOW_S },
  });
  if (caller.kind !== "user") return [bound("key", `key:${caller.keyId}`, limits.keyRequests)];
  const { user } = caller;
  if (!limited) return [bound("user", `user:${user}`, limits.userRequests)];
  const { limit, room } = limited;
  return [
    bound(limit, `${limit}:${user}:${room}`, limits[ROOM_LIMITS[limit]]),
    bound(limit, `${limit}:${user}`, limits.userRequests),
  ];
}

function loginBounds(address: string, key: string): NamedBound[] {
  const keyId = /^omc_[a-z]+_([a-z2-7]{16})_/.exec(key)?.[1];
  const windowS = LOGIN_WINDOW_S;
  return [
    {
      limit: "login",
      key: limitKey(nameNetwork(address), "login"),
      most: MAX_LOGINS_PER_ADDRESS,
      windowS,
    },
    ...(keyId === undefined
      ? []
      : [{ limit: "login" as const, key: limitKey(keyId, "login"), most: MAX_LOGINS_PER_KEY, windowS }]),
  ];
}
