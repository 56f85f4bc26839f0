import { LRUCache } from "lru-cache";
import { createHash } from "node:crypto";
import { nameNetwork } from "../../shared/auth/client-address.ts";
import { AppError, type ErrorCode } from "../../shared/contract/errors.ts";
import { Semaphore } from "../../shared/platform/concurrency/semaphore.ts";
import type { Caller } from "../auth/authenticate.ts";
import type { LimitedCall, RateLimits } from "./rate-limits.ts";

/** How long a credential counts as known after this process verified it. */
const KNOWN_FOR_MS = 60_000;
const MAX_KNOWN = 50_000;
/** Unknown credentials of one network whose check this process runs at once, and how many wait for theirs. */
const CHECKS_AT_WORK = 8;
const MAX_CHECKS = 2_000;
const CHECK_WAIT_MS = 10_000;
/** When a network whose checks are too many may try again. */
const RETRY_AFTER_MS = 1_000;

const CREDENTIAL_ERRORS: ReadonlySet<ErrorCode> = new Set(["unauthorized", "token_expired", "forbidden"]);

/** A request's client and what it shows: a header with a key or a token, a session, a key in a form, or nothing. */
export type Client = { address: string; credential: string | null };

/**
 * Runs the check of a client's credential, and counts the request under its caller, or under its address if the
 * credential is not valid. Returns the caller.
 *
 * A network that is over its limit without valid credentials is refused before the check, which asks Postgres, unless this
 * process verified the same credential within a minute. Few checks of one network run at once, and each is counted before
 * the next begins: many simultaneous requests reach Postgres as seldom as the same requests one after the other.
 * `place`: see `countRequest`.
 * @throws AppError `rate_limited`, or what the check throws.
 */
export type IdentifyCaller = <C extends Caller>(
  client: Client,
  check: () => Promise<C>,
  limited?: LimitedCall | null,
) => Promise<C>;

export function createIdentifyCaller(limits: RateLimits, now: () => number): IdentifyCaller {
  // Hashes of credentials. An entry only says that the credential goes on to its check, which decides each time.
  const known = new LRUCache<string, true>({
    max: MAX_KNOWN,
    ttl: KNOWN_FOR_MS,
    ttlResolution: 0,
    perf: { now },
  });
  const queue = createChecksOfNetworks();
  const checkCounted = async <C>(name: string, address: string, check: () => Promise<C>): Promise<C> => {
    try {
      const caller = await check();
      known.set(name, true);
      return caller;
    } catch (error) {
      if (error instanceof AppError && CREDENTIAL_ERRORS.has(error.code)) {
        known.delete(name);
        await limits.countUnauthenticated(address);
      }
      throw error;
    }
  };
  return async ({ address, credential }, check, limited = null) => {
    const name = createHash("sha256")
      .update(credential ?? "")
      .digest("base64url");
    const caller = known.has(name)
      ? await checkCounted(name, address, check)
      : await queue(address, () => {
          limits.requireUnauthenticated(address);
          return checkCounted(name, address, check);
        });
    await limits.countRequest(caller, limited);
    return caller;
  };
}

/** Runs few checks of each network at once, in the order asked. */
function createChecksOfNetworks(): <C>(address: string, check: () => Promise<C>) => Promise<C> {
  const networks = new Map<string, { semaphore: Semaphore; checks: number }>();
  return async (address, check) => {
    const name = nameNetwork(address);
    const network = networks.get(name) ?? { semaphore: createSemaphore(), checks: 0 };
    if (network.checks >= MAX_CHECKS)
      throw new AppError("rate_limited", "Too many requests at once.", { retryAfterMs: RETRY_AFTER_MS });
    networks.set(name, network);
    network.checks += 1;
    try {
      return await network.semaphore.run(check);
    } finally {
      network.checks -= 1;
      if (network.checks === 0) networks.delete(name);
    }
  };
}

function createSemaphore(): Semaphore {
  return new Semaphore({ atWork: CHECKS_AT_WORK, waiting: MAX_CHECKS, waitMs: CHECK_WAIT_MS });
}
