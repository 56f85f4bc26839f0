import type { Request } from "express";
import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { AppError, type ErrorCode } from "../../shared/contract/errors.ts";
import { limitKey } from "../../shared/platform/redis-keys.ts";
import type { Counter } from "../../shared/platform/metrics.ts";
import type { Caller } from "../auth/authenticate.ts";
import type { Bound, CountAll } from "./shared-counters.ts";

/** Seconds over which requests are counted. */
const WINDOW_S = 10;
/** Requests with no credential, or a bad one, from one address. */
const STRANGER_REQUESTS = 300;
/** Tries to log in to the operators' pages, a minute: from one address, and with one key. */
const LOGIN_WINDOW_S = 60;
const LOGINS_OF_ADDRESS = 20;
const LOGINS_OF_KEY = 10;

type LimitName = "user" | "key" | "tenant" | "address" | "login";
type NamedBound = Bound & { limit: LimitName };

/** Who may ask how often. Each counts one. @throws AppError `rate_limited`, with how long to wait. */
export type Limits = {
  /** A caller whose credential is good: a user or a key, and the tenant as a whole. */
  takeRequest: (caller: Caller) => Promise<void>;
  /** A request that was refused for its credential; a good one from the same address goes on being served. */
  takeStranger: (address: string | undefined) => Promise<void>;
  takeLogin: (address: string | undefined, key: string) => Promise<void>;
};

export function createLimits(countAll: CountAll, refused: Counter<"limit">): Limits {
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
    takeRequest: (caller) => require(boundsOf(caller)),
    takeStranger: (address) =>
      require([
        {
          limit: "address",
          key: limitKey(nameAddress(address), "stranger"),
          most: STRANGER_REQUESTS,
          windowS: WINDOW_S,
        },
      ]),
    takeLogin: (address, key) => require(loginBounds(address, key)),
  };
}

const BAD_CREDENTIAL: ReadonlySet<ErrorCode> = new Set(["unauthorized", "token_expired", "forbidden"]);

/** Who calls, counted: under the caller when the credential is good, under the client's address when not. */
export async function identifyCaller<C extends Caller>(
  limits: Limits,
  request: Request,
  identified: Promise<C>,
): Promise<C> {
  const caller = await identified.catch(async (error: unknown) => {
    if (error instanceof AppError && BAD_CREDENTIAL.has(error.code)) await limits.takeStranger(request.ip);
    throw error;
  });
  await limits.takeRequest(caller);
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
      most: LOGINS_OF_ADDRESS,
      windowS,
    },
    ...(keyId === undefined
      ? []
      : [{ limit: "login" as const, key: limitKey(keyId, "login"), most: LOGINS_OF_KEY, windowS }]),
  ];
}

/** A name for a client's network that tells nobody its address: IPv4 whole, IPv6 by its first 64 bits. */
export function nameAddress(address: string | undefined): string {
  const bare = (address ?? "unknown").replace(/^::ffff:(?=\d+\.)/i, "");
  const network = isIPv6(bare) ? readNetwork(bare) : bare;
  return createHash("sha256").update(network).digest("base64url").slice(0, 22);
}

/** The first four groups of an IPv6 address, written out. */
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
