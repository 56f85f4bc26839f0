import type { Db } from "../../../shared/db/connection/open.ts";
import { findRoomAccess, type RoomAccess } from "../../../shared/db/memberships/memberships.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { isAllowed } from "../../../shared/contract/permissions.ts";
import type { UserCaller } from "../../auth/authenticate.ts";

export const tag = "messages";
export const listPath = "/v1/rooms/{kind}/{slug}/messages";

/**
 * The caller's membership in a room whose messages the caller may read.
 * @throws AppError `not_found` if the caller is not in the room or may not read it, `forbidden` for a locked user.
 */
export async function requireReadAccess(db: Db, caller: UserCaller, room: RoomAddress): Promise<RoomAccess> {
  const access = await findRoomAccess(db, caller.tenantId, room, caller.user);
  if (!access || !isAllowed(access.role, "read")) throw new AppError("not_found", "There is no such room.");
  if (access.user_status === "locked") throw new AppError("forbidden", "The user is locked.");
  return access;
}
