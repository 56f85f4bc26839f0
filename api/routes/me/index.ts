import type { Route } from "../../http/route.ts";
import { listMyRoomsRoute } from "./list-my-rooms.ts";
import { putSettingsRoute, type SettingsDeps } from "./put-settings.ts";

export function meRoutes(deps: SettingsDeps): Route[] {
  return [listMyRoomsRoute(deps), putSettingsRoute(deps)];
}
