import type { Route } from "../../../http/route.ts";
import type { BlockDeps } from "./block.ts";
import { deleteBlockRoute } from "./delete-block.ts";
import { listBlocksRoute } from "./list-blocks.ts";
import { putBlockRoute } from "./put-block.ts";

export function blockRoutes(deps: BlockDeps): Route[] {
  return [listBlocksRoute(deps), putBlockRoute(deps), deleteBlockRoute(deps)];
}
