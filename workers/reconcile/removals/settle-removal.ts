import { isAllowedOver } from "../../../shared/contract/permissions.ts";
import { insertBan } from "../../../shared/db/bans/bans.ts";
import { transact } from "../../../shared/db/connection/transaction.ts";
import {
  clearRemoval,
  findNotedRemoval,
  findRemoval,
  listRemovedMembers,
  markRemovalSettled,
  type RemovalRow,
  type RemovedMember,
} from "../../../shared/db/memberships/removals.ts";
import { lockOutboxes } from "../../../shared/db/rooms/rooms.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { AppendedRow } from "../../../shared/timeline/append.ts";
import { endMembership } from "../../../shared/timeline/ending/end-membership.ts";
import { publishRooms } from "../../../shared/timeline/publish.ts";
import { publishUserEventOutbox } from "../../../shared/timeline/publish-user-events.ts";
import { wakeConsumers } from "../../consumers/wake.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import { findRemovalOnMatrix, type Removal } from "../../matrix/rooms/member-event.ts";
import { unbanMember } from "../../matrix/rooms/members.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { actAsObserver } from "../observer/act-as-observer.ts";

/** User events that are published at once; the sweeper publishes the others. */
const MAX_USER_EVENTS = 500;

type MatrixRoom = RoomSnapshot & { matrix_room_id: string };

/**
 * Settles the removals on Matrix of a room's members, `limit` at most: see `settleRemoval`. Returns false when more are left.
 */
export async function settleRemovals(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  { lease, limit }: { lease: RoomLease; limit: number },
): Promise<boolean> {
  const members = await listRemovedMembers(context.db, room.id, limit + 1);
  for (const member of members.slice(0, limit)) {
    lease.check();
    await settleRemoval(context, homeserver, room, member, lease);
  }
  return members.length <= limit;
}

/**
 * Settles what Matrix shows now of a person who left, or whom somebody else kicked or banned there. When a member may remove this person
 * here too, or the person left, it is taken over: `taken over`. Otherwise a member's ban is undone: `undone`. A person who is no member
 * stays banned. Also `undone` when there is nothing in the way of a join.
 * @throws MatrixFailure `transient` when the homeserver does not let the observer undo a ban.
 */
export async function settleRemoval(
  context: WorkerContext,
  homeserver: Homeserver,
  room: MatrixRoom,
  member: RemovedMember,
  lease: RoomLease,
): Promise<"taken over" | "undone"> {
  const { db } = context;
  const place = { roomId: room.id, userId: member.userId };
  const noted = await findNotedRemoval(db, room.id, member.userId);
  const observer = await actAsObserver(homeserver, room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: member.matrixUserId };
  const removal = await findRemovalOnMatrix(observer, target);
  if (removal === null) {
    await clearRemoval(db, place, noted);
    return "undone";
  }
  // The homeserver takes a deactivated account out of all its rooms: the person has left none of them.
  const isForgotten = removal.isLeave && (await homeserver.isDeactivated(member.matrixUserId));
  const { isMember, ended } = await takeOver(context, room, member.userId, { removal, noted, isForgotten });
  if (ended !== null) {
    await publishEnded(context, room, ended);
    return "taken over";
  }
  if (removal.isBan && isMember) {
    lease.check();
    await unbanMember(observer, target).catch(waitForObserver);
    await clearRemoval(db, place, null);
    context.metrics.driftRepaired.inc({ what: "bans" });
    context.log.warn({ room: room.id }, "the ban of a member on Matrix does not count here: undone");
  }
  return "undone";
}

/** The observer is out, or has lost its level: the ban waits until that is mended, and so do the member's messages. */
function waitForObserver(error: unknown): never {
  if (!(error instanceof MatrixFailure && error.kind === "forbidden")) throw error;
  throw new MatrixFailure("transient", {
    errcode: "the observer may not end a ban",
    httpStatus: null,
    cause: error,
  });
}

/** Records a removal as settled. Ends the membership where the removal counts here. */
function takeOver(
  { db }: WorkerContext,
  room: MatrixRoom,
  userId: string,
  { removal, noted, isForgotten }: { removal: Removal; noted: string | null; isForgotten: boolean },
): Promise<{ isMember: boolean; ended: AppendedRow[] | null }> {
  return transact(db, async (trx) => {
    await lockOutboxes(trx, room.tenant_id, [room.id]);
    const found = await findRemoval(trx, room.id, { userId, ...removal });
    if (!found) return { isMember: false, ended: null };
    const by = found.actor?.user ?? null;
    const place = { tenantId: room.tenant_id, roomId: room.id, userId };
    const isHere = !isForgotten && (removal.isLeave ? isLeaveHere(found) : isRemovalHere(found));
    const ended = isHere ? await endMembership(trx, { ...place, by }) : null;
    if (isHere && removal.isBan) {
      const { reason } = removal;
      await insertBan(trx, { ...place, byId: found.actor?.id ?? null, reason, isApplied: true });
    }
    await markRemovalSettled(trx, { roomId: room.id, userId, ...removal }, noted);
    return { isMember: found.isMember, ended };
  });
}

/**
 * Whether a removal on Matrix removes the person here too: the one who did it may remove a member of that role, and the
 * tenant has not added the person since. A direct room keeps both of its members.
 */
export function isRemovalHere(removal: RemovalRow): boolean {
  const { actor, role } = removal;
  return isLeaveHere(removal) && actor !== null && isAllowedOver(actor.standing, "remove", role);
}

/** Whether that a person left on Matrix means so here too, on the same terms. */
function isLeaveHere({ isMember, isOlderThanMembership, isSettled, kind }: RemovalRow): boolean {
  return isMember && !isSettled && !isOlderThanMembership && kind !== "direct";
}

/** Publishes the removal and ends the person's subscriptions. What fails here, the sweeper repeats. */
async function publishEnded(
  context: WorkerContext,
  room: RoomSnapshot,
  entries: readonly AppendedRow[],
): Promise<void> {
  context.log.info({ room: room.id }, "a member left, or was removed, on Matrix: out here too");
  context.sent.add([room.id]);
  wakeConsumers(context, entries);
  try {
    await publishRooms(context, [room.id]);
    await publishUserEventOutbox(context, MAX_USER_EVENTS);
  } catch (error) {
    context.log.warn({ err: error }, "publishing a removal failed: the sweeper repeats it");
  }
}
