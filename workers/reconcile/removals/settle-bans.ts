import { listUnappliedBans, markBanApplied } from "../../../shared/db/bans/bans.ts";
import type { RoomSnapshot } from "../../../shared/db/rooms/room-snapshot.ts";
import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import { banMember, unbanMember } from "../../matrix/rooms/members.ts";
import type { WorkerContext } from "../../runtime/context.ts";
import type { RoomLease } from "../../runtime/room-lease.ts";
import { actAsObserver } from "../observer/act-as-observer.ts";

/** Brings bans and their ends to Matrix, `limit` at most. Returns false when more are left. */
export async function settleBans(
  { db }: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  { lease, limit }: { lease: RoomLease; limit: number },
): Promise<boolean> {
  const bans = await listUnappliedBans(db, room.id, limit + 1);
  if (bans.length === 0) return true;
  const observer = await actAsObserver(homeserver, room.observer_matrix_id);
  const matrixRoomId = room.matrix_room_id;
  for (const { userId, matrixUserId, reason, isEnded } of bans.slice(0, limit)) {
    lease.check();
    if (isEnded) await unbanMember(observer, { matrixRoomId, matrixUserId });
    else await banMember(observer, { matrixRoomId, matrixUserId, reason });
    await markBanApplied(db, room.id, { userId, isEnded });
  }
  return bans.length <= limit;
}
