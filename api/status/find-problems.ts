import type { Db } from "../../shared/db/connection/open.ts";
import { findPostgresProblems } from "../../shared/db/connection/postgres-problems.ts";
import { problemsOfHomeservers } from "../../shared/db/homeservers/homeserver-problems.ts";
import {
  readHomeserverStatuses,
  type SeenHomeserver,
} from "../../shared/db/homeservers/homeserver-states.ts";
import { findOldestWaiting, type OldestWaiting } from "../../shared/db/messages/waiting-messages.ts";
import { orNothing, type FoundProblem } from "../../shared/platform/problems/problems.ts";
import { createRedisCheck } from "../../shared/platform/problems/redis-problems.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { waitingReason } from "./waiting-reason.ts";

const WARNING_AGE_MS = 30_000;
const CRITICAL_AGE_MS = 300_000;

/** Returns a look at everything that the api needs: its servers, and while messages wait, their homeserver. It never fails. */
export function createApiLook({ db, redis }: { db: Db; redis: Redis }): () => Promise<FoundProblem[]> {
  const findRedisProblems = createRedisCheck(redis);
  return async () => {
    const [postgres, ofRedis] = await Promise.all([findPostgresProblems(db), findRedisProblems()]);
    if (postgres.length > 0) return [...postgres, ...ofRedis];
    return [...ofRedis, ...(await orNothing(findWaitingProblems(db, ofRedis)))];
  };
}

async function findWaitingProblems(db: Db, ofRedis: readonly FoundProblem[]): Promise<FoundProblem[]> {
  const oldest = await findOldestWaiting(db);
  if (oldest === null) return [];
  const homeservers = await readHomeserverStatuses(db);
  return [...problemsOfHomeservers(homeservers), ...problemOfWaiting(oldest, homeservers, ofRedis)];
}

function problemOfWaiting(
  oldest: OldestWaiting,
  homeservers: readonly SeenHomeserver[],
  ofRedis: readonly FoundProblem[],
): FoundProblem[] {
  if (oldest.ageMs < WARNING_AGE_MS) return [];
  const homeserver = homeservers.find(({ name }) => name === oldest.homeserver) ?? null;
  const why = waitingReason(oldest, homeserver, ofRedis);
  // Without the room: `/readyz` needs no credential.
  const detail = `A message waits to be sent. ${why}`;
  const severity = oldest.ageMs < CRITICAL_AGE_MS ? "warning" : "critical";
  return [{ code: "messages_waiting", severity, detail, since: new Date(Date.now() - oldest.ageMs) }];
}
