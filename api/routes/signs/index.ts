import type { Db } from "../../../shared/db/connection/open.ts";
import type { Redis } from "../../../shared/platform/redis.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import type { Route } from "../../http/route.ts";
import { getPresenceRoute } from "./get-presence.ts";
import { getReceiptsRoute } from "./get-receipts.ts";
import { getUnreadRoute } from "./get-unread.ts";
import { putReadRoute } from "./put-read.ts";
import { putTypingRoute } from "./put-typing.ts";
import { putUnreadRoute } from "./put-unread.ts";

export function signRoutes(deps: { db: Db; redis: Redis; afterCommit: AfterCommit }): Route[] {
  return [
    putTypingRoute(deps),
    putReadRoute(deps),
    putUnreadRoute(deps),
    getReceiptsRoute(deps),
    getPresenceRoute(deps),
    getUnreadRoute(deps),
  ];
}
