import type { Db } from "../../shared/db/open.ts";
import type { Accept } from "../accept-batcher.ts";
import type { Aftermath } from "../aftermath.ts";
import type { FindTenant } from "../auth.ts";
import type { WithinQuota } from "../quota.ts";
import type { Route } from "../route.ts";
import type { Turns } from "../turns.ts";
import { meRoutes } from "./me.ts";
import { memberRoutes } from "./members.ts";
import { messageRoutes } from "./messages.ts";
import { roomRoutes } from "./rooms.ts";
import { tokenRoutes } from "./tokens.ts";
import { userRoutes } from "./users.ts";

export type RouteDeps = {
  db: Db;
  aftermath: Aftermath;
  turns: Turns;
  accept: Accept;
  withinQuota: WithinQuota;
  findTenant: FindTenant;
  now: () => number;
};

/** Every call under /v1: the server answers these, and the OpenAPI document describes them. */
export function createRoutes(deps: RouteDeps): Route[] {
  return [
    ...userRoutes(deps),
    ...tokenRoutes(deps),
    ...roomRoutes(deps),
    ...memberRoutes(deps),
    ...messageRoutes(deps),
    ...meRoutes(deps),
  ];
}
