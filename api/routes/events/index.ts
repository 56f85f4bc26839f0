import type { Db } from "../../../shared/db/connection/open.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { Route } from "../../http/route.ts";
import { postEventsRoute } from "./post-events.ts";

export function eventRoutes(deps: { db: Db; afterCommit: AfterCommit }): Route[] {
  return [postEventsRoute(deps)];
}
