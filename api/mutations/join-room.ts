import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { hasBanned } from "../../shared/db/bans/bans.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { lockMemberships } from "../../shared/db/memberships/memberships.ts";
import { lockRoom } from "../../shared/db/rooms/rooms.ts";
import { lockKnownUsers } from "../../shared/db/users/users.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";
import { notHeldError } from "../auth/require-holder.ts";
import { setMembers } from "./set-members.ts";

/** Who joins or leaves: the row id, and the id in the tenant. */
export type Person = { id: string; external_id: string };

/**
 * Makes a person a member of an open room, with the role `member`. A member stays as it is.
 * @throws AppError `not_found` for a private room, `forbidden` for one that is not open and for a person who is banned, `unauthorized` when the person was
 *   deleted meanwhile.
 */
export function joinRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  person: Person,
): Promise<{ roomId: string; sideEffects: SideEffect[] }> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw noSuchRoom();
    const name = person.external_id;
    const users = await lockKnownUsers(trx, tenantId, [name]);
    if (users.get(name)?.id !== person.id) throw notHeldError();
    const [membership] = await lockMemberships(trx, tenantId, room.id, [person.id]);
    if (membership?.desired === "in") return { roomId: room.id, sideEffects: [] };
    if (room.visibility !== "public") throw noSuchRoom();
    if (room.join_rule !== "open")
      throw new AppError("forbidden", "Nobody may join this room without being added to it.");
    // A ban holds against the person's own wish; the backend ends it when it adds the person.
    if (membership?.is_banned === true || (await hasBanned(trx, room.id, [person.id])))
      throw new AppError("forbidden", "You are banned from this room.");
    const wanted = [{ user: name, role: null, place: "user" }];
    const { entries } = await setMembers(trx, room, wanted, { unknownUsers: "refuse", by: name });
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    return { roomId: room.id, sideEffects: membersChanged({ tenantId, roomId: room.id }) };
  });
}

function noSuchRoom(): AppError {
  return new AppError("not_found", "There is no such room.");
}
