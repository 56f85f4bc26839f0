import { makeMembersDue } from "../../shared/db/memberships/members-due.ts";
import { endMemberships, findMember, type MemberRow } from "../../shared/db/memberships/memberships.ts";
import { markDeadOfRemovedSender } from "../../shared/db/messages/dead-messages.ts";
import { enqueueUserEvents } from "../../shared/db/users/user-event-outbox.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { lockRoom, lockTimelines } from "../../shared/db/rooms/rooms.ts";
import { transact } from "../../shared/db/connection/transaction.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { RoomAddress } from "../../shared/contract/names.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { memberEntry } from "../../shared/timeline/own-entries.ts";
import { describeDeadMessages } from "./dead-messages.ts";
import { membersChanged, type SideEffect } from "../after-commit/side-effects.ts";

export type Removal = { roomId: string; member: MemberRow | undefined; sideEffects: SideEffect[] };

/**
 * Removes a user from a room. The user's queued messages there are dead. Nothing changes for a user who is not in the
 * room; `member` is undefined for one who never was. @throws AppError `not_found` if there is no such room.
 */
export function removeMember(db: Db, tenantId: string, address: RoomAddress, user: string): Promise<Removal> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const member = await findMember(trx, tenantId, room.id, user);
    if (member) await lockTimelines(trx, tenantId, [room.id]);
    const [ended] = member ? await endMemberships(trx, tenantId, member.user_id, [room.id]) : [];
    if (!member || !ended) return { roomId: room.id, member, sideEffects: [] };
    const dead = await markDeadOfRemovedSender(trx, tenantId, {
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
    const sideEffects = [
      ...membersChanged({ tenantId, roomId: room.id }),
      ...describeDeadMessages(left, dead),
    ];
    return { roomId: room.id, member, sideEffects };
  });
}
