import type { BanRow } from "../../../shared/db/bans/bans.ts";
import { findBan } from "../../../shared/db/bans/bans.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findRoom } from "../../../shared/db/rooms/rooms.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import type { BanResource } from "../../../shared/contract/resources.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { findActor, changerOf, requirePermission } from "../../mutations/rights/actor.ts";

export const tag = "bans";
export const listPath = "/v1/rooms/{kind}/{slug}/bans";
export const path = `${listPath}/{user}`;

export const RIGHT =
  "For moderators and above: 403 without the right, and for a locked user; 404 for a room that the user is not in.";

/** The room of a request about its bans, by a server key or by a person who may ban. @throws AppError `not_found`, `forbidden`. */
export async function requireBanAccess(db: Db, caller: Caller, address: RoomAddress): Promise<string> {
  const room = await findRoom(db, caller.tenantId, address);
  if (!room) throw new AppError("not_found", "There is no such room.");
  requirePermission(await findActor(db, changerOf(caller), address), "ban");
  return room.id;
}

/** @throws AppError `not_found` for a person who is not banned. */
export async function readBan(
  db: Db,
  key: { tenantId: string; roomId: string; user: string },
): Promise<BanResource> {
  const ban = await findBan(db, key);
  if (!ban) throw new AppError("not_found", "The person is not banned.");
  return presentBan(ban);
}

export function presentBan({ user, display_name, avatar, by, reason, at, is_applied }: BanRow): BanResource {
  const status = is_applied ? "ready" : "pending";
  return { user, displayName: display_name, avatar, by, reason, at: at.toISOString(), status };
}
