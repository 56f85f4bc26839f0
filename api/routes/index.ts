import type { Db } from "../../shared/db/connection/open.ts";
import type { Accept, AcceptAct } from "../accept/accept-batcher.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import type { FindTenant } from "../auth/authenticate.ts";
import type { WithinQuota } from "../rate-limit/message-quota.ts";
import type { Route } from "../http/route.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import type { KeyedMutex } from "../../shared/platform/concurrency/keyed-mutex.ts";
import { banRoutes } from "./bans/index.ts";
import { eventRoutes } from "./events/index.ts";
import { meRoutes } from "./me/index.ts";
import { memberRoutes } from "./members/index.ts";
import { messageRoutes } from "./messages/index.ts";
import { pinRoutes } from "./pins/index.ts";
import { withFormerSlugs } from "./rooms/rename/former-slugs.ts";
import { roomRoutes } from "./rooms/index.ts";
import { signRoutes } from "./signs/index.ts";
import { userRoutes } from "./users/index.ts";

export type RouteDeps = {
  db: Db;
  afterCommit: AfterCommit;
  mutex: KeyedMutex;
  accept: Accept & AcceptAct;
  withinQuota: WithinQuota;
  findTenant: FindTenant;
  now: () => number;
  redis: Redis;
};

/** All routes under /v1, which the server serves and the OpenAPI document describes. */
export function createRoutes(deps: RouteDeps): Route[] {
  const routes = [
    ...userRoutes(deps),
    ...roomRoutes(deps),
    ...memberRoutes(deps),
    ...banRoutes(deps),
    ...messageRoutes(deps),
    ...pinRoutes(deps),
    ...signRoutes(deps),
    ...meRoutes(deps),
    ...eventRoutes(deps),
  ];
  return routes.map((route) => withFormerSlugs(deps.db, route));
}
