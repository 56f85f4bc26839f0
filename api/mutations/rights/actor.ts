import { AppError } from "../../../shared/contract/errors.ts";
import type { RoomAddress } from "../../../shared/contract/names.ts";
import { isAllowed, isAllowedOver, type Permission } from "../../../shared/contract/permissions.ts";
import type { Role } from "../../../shared/contract/roles.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { RoomAccess } from "../../../shared/db/memberships/memberships.ts";
import type { Caller, UserCaller } from "../../auth/authenticate.ts";
import { requireReadAccess } from "../../auth/require-read-access.ts";

/** Who changes a room: a person, by the rights that its member has, or the tenant's backend. */
export type Changer = UserCaller | "backend";

export function changerOf(caller: Caller): Changer {
  return caller.kind === "user" ? caller : "backend";
}

/** The user id of a person who changes a room; null for the tenant's backend. */
export function nameOf(changer: Changer): string | null {
  return changer === "backend" ? null : changer.user;
}

/**
 * The membership of a person who changes a room whose outbox is locked; null for the tenant's backend, which may all.
 * @throws AppError as `requireReadAccess`
 */
export function findActor(trx: Db, changer: Changer, room: RoomAddress): Promise<RoomAccess | null> {
  return changer === "backend" ? Promise.resolve(null) : requireReadAccess(trx, changer, room);
}

/** @throws AppError `forbidden` for a person without the permission; over a member of the role `over`, where one is given. */
export function requirePermission(
  actor: RoomAccess | null,
  permission: Permission,
  over: Role | null = null,
): void {
  if (actor === null) return;
  const { standing } = actor;
  const may = over === null ? isAllowed(standing, permission) : isAllowedOver(standing, permission, over);
  if (!may) throw new AppError("forbidden", "Your role in the room does not allow this.");
}
