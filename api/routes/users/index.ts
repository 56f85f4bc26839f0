import type { Route } from "../../http/route.ts";
import { deleteTokensRoute } from "./delete-tokens.ts";
import { deleteUserRoute } from "./delete-user.ts";
import { getErasureRoute } from "./get-erasure.ts";
import { getUserRoute } from "./get-user.ts";
import { listUserRoomsRoute } from "./list-user-rooms.ts";
import { listUsersRoute } from "./list-users.ts";
import { lockUserRoute, unlockUserRoute } from "./lock-user.ts";
import { patchUserRoute } from "./patch-user.ts";
import { postTokenRoute, type TokenDeps } from "./post-token.ts";
import { postUsersRoute } from "./post-users.ts";
import { putUserRoute } from "./put-user.ts";
import type { UserDeps } from "./user.ts";

export function userRoutes(deps: UserDeps & TokenDeps): Route[] {
  return [
    listUsersRoute(deps),
    postUsersRoute(deps),
    putUserRoute(deps),
    getUserRoute(deps),
    patchUserRoute(deps),
    deleteUserRoute(deps),
    getErasureRoute(deps),
    postTokenRoute(deps),
    deleteTokensRoute(deps),
    listUserRoomsRoute(deps),
    lockUserRoute(deps),
    unlockUserRoute(deps),
  ];
}
