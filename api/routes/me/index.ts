import type { Route } from "../../http/route.ts";
import { blockRoutes } from "./blocks/index.ts";
import { getMeRoute } from "./get-me.ts";
import { listMyRoomsRoute } from "./list-my-rooms.ts";
import { putSettingsRoute, type SettingsDeps } from "./put-settings.ts";

export function meRoutes(deps: SettingsDeps): Route[] {
  return [getMeRoute(deps), listMyRoomsRoute(deps), putSettingsRoute(deps), ...blockRoutes(deps)];
}
