import { endMemberships, findMember, touchMembers, type MemberRow } from "../../shared/db/memberships.ts";
import { killQueuedMessages } from "../../shared/db/messages.ts";
import { insertNotices } from "../../shared/db/notices.ts";
import type { Db } from "../../shared/db/open.ts";
import { lockRoom } from "../../shared/db/rooms.ts";
import { transact } from "../../shared/db/transact.ts";
import { AppError } from "../../shared/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/names.ts";
import type { FailedMessage } from "../../shared/pending.ts";
import { appendEntries, type AppendedRow } from "../../shared/timeline/append.ts";
import { effectsOnRoom, type Effects } from "./effects.ts";
import { memberEntry } from "./wish-members.ts";

export type Removal = { roomId: string; member: MemberRow | undefined; effects: Effects };

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
    const [ended] = member ? await endMemberships(trx, tenantId, member.user_id, [room.id]) : [];
    if (!member || !ended)
      return { roomId: room.id, member, effects: effectsOnRoom(target, { room: false, members: false }) };
    const killed = await killQueuedMessages(trx, tenantId, { roomId: room.id, senderId: member.user_id });
    await touchMembers(trx, tenantId, [room.id], -1);
    await insertNotices(trx, [{ tenantId, kind: "room.removed", userId: member.user_id, roomId: room.id }]);
    const left = await appendEntries(trx, [
      { roomId: room.id, entries: [memberEntry("member.left", member.user_id, ended.role)] },
    ]);
    const failed = left.flatMap((row) => describeKilled(row, killed));
    return {
      roomId: room.id,
      member,
      effects: effectsOnRoom(target, { room: false, members: true, failed }),
    };
  });
}

/** What a room is told, behind the entry of a removal, of the queued messages of the person who left. */
export function describeKilled(left: AppendedRow, messageIds: readonly string[]): FailedMessage[] {
  const error = {
    code: "sender_removed",
    message: "The sender was removed from the room before the message was sent.",
  };
  const position = { epoch: left.epoch, lastNumber: left.last_number };
  return messageIds.map((id) => ({ roomId: left.room_id, position, room: formatRoomKey(left), id, error }));
}
