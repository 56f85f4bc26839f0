import type { Request } from "express";
import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { AppError, type ErrorCode } from "../../shared/contract/errors.ts";
import { limitKey } from "../../shared/platform/redis-keys.ts";
import type { Counter } from "../../shared/platform/metrics.ts";
import type { Caller } from "../auth/authenticate.ts";
import type { Bound, CountAll } from "./shared-counters.ts";

const WINDOW_S = 10;
/** Requests of one address in a window that have no valid credential. */
const MAX_UNAUTHENTICATED = 300;
const LOGIN_WINDOW_S = 60;
/** Logins to the operators' pages in a window: from one address, and with one key. */
const MAX_LOGINS_PER_ADDRESS = 20;
const MAX_LOGINS_PER_KEY = 10;

type LimitName = "user" | "key" | "tenant" | "address" | "login";
type NamedBound = Bound & { limit: LimitName };

/** Rate limits. Each function counts one request. @throws AppError `rate_limited`, with the time to wait. */
export type RateLimits = {
  /** Counts a request with a valid credential under its user or key, and under its tenant. */
  countRequest: (caller: Caller) => Promise<void>;
  /** Counts a request without a valid credential. The address's requests with one are not limited by it. */
  countUnauthenticated: (address: string | undefined) => Promise<void>;
  countLogin: (address: string | undefined, key: string) => Promise<void>;
};

export function createRateLimits(countAll: CountAll, refused: Counter<"limit">): RateLimits {
  const require = async (bounds: readonly NamedBound[]): Promise<void> => {
    const waits = await countAll(bounds);
    const waitMs = Math.max(...waits);
    if (waitMs === 0) return;
    const over = bounds[waits.indexOf(waitMs)];
    if (over) refused.inc({ limit: over.limit });
    throw new AppError("rate_limited", "Too many requests. Wait as long as Retry-After says.", {
      retryAfterMs: waitMs,
    });
  };
  return {
    countRequest: (caller) => require(boundsOf(caller)),
    countUnauthenticated: (address) =>
      require([
        {
          limit: "address",
          key: limitKey(nameAddress(address), "stranger"),
          most: MAX_UNAUTHENTICATED,
          windowS: WINDOW_S,
        },
      ]),
    countLogin: (address, key) => require(loginBounds(address, key)),
  };
}

const CREDENTIAL_ERRORS: ReadonlySet<ErrorCode> = new Set(["unauthorized", "token_expired", "forbidden"]);

/** Counts a request under its caller, or under its address if the credential is not valid. Returns the caller. */
export async function identifyCaller<C extends Caller>(
  limits: RateLimits,
  request: Request,
  identified: Promise<C>,
): Promise<C> {
  const caller = await identified.catch(async (error: unknown) => {
    if (error instanceof AppError && CREDENTIAL_ERRORS.has(error.code))
      await limits.countUnauthenticated(request.ip);
    throw error;
  });
  await limits.countRequest(caller);
  return caller;
}

function boundsOf({ tenantId, limits, ...caller }: Caller): NamedBound[] {
  const own: NamedBound =
    caller.kind === "user"
      ? {
          limit: "user",
          key: limitKey(tenantId, `user:${caller.user}`),
          most: limits.userRequests,
          windowS: WINDOW_S,
        }
      : {
          limit: "key",
          key: limitKey(tenantId, `key:${caller.keyId}`),
          most: limits.keyRequests,
          windowS: WINDOW_S,
        };
  const all = limitKey(tenantId, "tenant");
  return [own, { limit: "tenant", key: all, most: limits.tenantRequests, windowS: WINDOW_S }];
}

function loginBounds(address: string | undefined, key: string): NamedBound[] {
  const keyId = /^omc_[a-z]+_([a-z2-7]{16})_/.exec(key)?.[1];
  const windowS = LOGIN_WINDOW_S;
  return [
    {
      limit: "login",
      key: limitKey(nameAddress(address), "login"),
      most: MAX_LOGINS_PER_ADDRESS,
      windowS,
    },
    ...(keyId === undefined
      ? []
      : [{ limit: "login" as const, key: limitKey(keyId, "login"), most: MAX_LOGINS_PER_KEY, windowS }]),
  ];
}

/** A hash that stands for a client's network in keys: of the whole IPv4 address, or of the first 64 bits of an IPv6 one. */
export function nameAddress(address: string | undefined): string {
  const bare = (address ?? "unknown").replace(/^::ffff:(?=\d+\.)/i, "");
  const network = isIPv6(bare) ? readNetwork(bare) : bare;
  return createHash("sha256").update(network).digest("base64url").slice(0, 22);
}

/** The first four groups of an IPv6 address, without abbreviation. */
function readNetwork(address: string): string {
  const [bare = ""] = address.split("%");
  const [head = "", tail] = bare.split("::");
  const groupsOf = (text: string) => text.split(":").filter((group) => group !== "");
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const left = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...Array<string>(left).fill("0"), ...back];
  return groups
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ""))
    .join(":");
}
