import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { isAllowed, type Standing } from "../../shared/contract/permissions.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findRoomCaller, type RoomAccess } from "../../shared/db/memberships/memberships.ts";
import { findRoom } from "../../shared/db/rooms/rooms.ts";
import type { KeyCaller, UserCaller } from "./authenticate.ts";
import { requireHolder } from "./require-holder.ts";

/**
 * The caller's membership in a room whose messages the caller may read.
 * @throws AppError `unauthorized` if the caller does not hold its token, `not_found` if the caller is not in the room or may
 *   not read it, `forbidden` for a locked user.
 */
export async function requireReadAccess(db: Db, caller: UserCaller, room: RoomAddress): Promise<RoomAccess> {
  const found = await findRoomCaller(db, caller.tenantId, room, caller.user);
  if (!found) throw noSuchRoom();
  const { access, status } = requireHolder(found, caller);
  if (!access || !isAllowed(access.standing, "read")) throw noSuchRoom();
  if (status === "locked") throw new AppError("forbidden", "The user is locked.");
  return access;
}

/** Who reads a room: a member, or the product's backend, for which `person` and `standing` are null. */
export type Reader = { roomId: string; person: string | null; standing: Standing | null };

/** @throws AppError `not_found` if there is no such room; for a person as `requireReadAccess`. */
export async function requireReader(
  db: Db,
  caller: UserCaller | KeyCaller,
  room: RoomAddress,
): Promise<Reader> {
  if (caller.kind === "user") {
    const { room_id: roomId, user_id: person, standing } = await requireReadAccess(db, caller, room);
    return { roomId, person, standing };
  }
  const found = await findRoom(db, caller.tenantId, room);
  if (!found) throw noSuchRoom();
  return { roomId: found.id, person: null, standing: null };
}

function noSuchRoom(): AppError {
  return new AppError("not_found", "There is no such room.");
}
