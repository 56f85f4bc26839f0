import { endMemberships, findMember, type MemberRow } from "../../shared/db/memberships/memberships.ts";
import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { DEAD_REASONS, markDeadOfRemovedSender } from "../../shared/db/messages/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom, lockTimelines } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { FailedMessage } from "../../shared/timeline/publish-unnumbered.ts";
import { appendEntries, type AppendedRow } from "../../shared/timeline/append.ts";
import { memberEntry } from "../../shared/timeline/own-entries.ts";
import { sideEffectsOnRoom, type SideEffects } from "./side-effects.ts";

export type Removal = { roomId: string; member: MemberRow | undefined; sideEffects: SideEffects };

/**
 * Wishes a user out of a room and ends the user's queued messages there; who is out already stays out. `member` is
 * undefined when the user never was in. @throws AppError `not_found` when there is no such room.
 */
export function removeMember(db: Db, tenantId: string, address: RoomAddress, user: string): Promise<Removal> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const target = { tenantId, roomId: room.id };
    const member = await findMember(trx, tenantId, room.id, user);
    if (member) await lockTimelines(trx, tenantId, [room.id]);
    const [ended] = member ? await endMemberships(trx, tenantId, member.user_id, [room.id]) : [];
    if (!member || !ended)
      return {
        roomId: room.id,
        member,
        sideEffects: sideEffectsOnRoom(target, { room: false, members: false }),
      };
    const killed = await markDeadOfRemovedSender(trx, tenantId, {
      senderId: member.user_id,
      roomIds: [room.id],
    });
    await makeMembersDue(trx, tenantId, [room.id], -1);
    await enqueueUserEvents(trx, [
      { tenantId, kind: "room.removed", userId: member.user_id, roomId: room.id },
    ]);
    const left = await appendEntries(trx, [
      { roomId: room.id, entries: [memberEntry("member.left", member.user_id, ended.role)] },
    ]);
    const failed = describeDeadMessages(left, killed);
    return {
      roomId: room.id,
      member,
      sideEffects: sideEffectsOnRoom(target, { room: false, members: true, failed }),
    };
  });
}

/** What rooms are told, behind the entries of somebody's removal, of the messages that the person had queued there. */
export function describeDeadMessages(
  left: readonly AppendedRow[],
  killed: readonly { id: string; room_id: string }[],
): FailedMessage[] {
  const error = {
    code: "sender_removed",
    message: DEAD_REASONS.sender_removed,
  };
  const byRoom = new Map(left.map((row) => [row.room_id, row]));
  return killed.flatMap(({ id, room_id: roomId }) => {
    const row = byRoom.get(roomId);
    if (!row) return [];
    const position = { epoch: row.epoch, lastNumber: row.last_number };
    return [{ roomId, position, room: formatRoomKey(row), id, error }];
  });
}
