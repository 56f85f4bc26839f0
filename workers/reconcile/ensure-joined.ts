import type { WorkerContext } from "../runtime/context.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { joinMember } from "../matrix/rooms/members.ts";
import type { RoomLease } from "../runtime/room-lease.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";
import { actAs } from "./act-as.ts";

/** The tenant wants this person out: no join is made. */
export class NotWanted extends Error {}

/**
 * A member is in the Matrix room after this.
 * @throws NotWanted when the tenant does not want the person there (any more).
 */
export async function ensureJoined(
  context: WorkerContext,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
  member: { userId: string; matrixUserId: string },
  lease: RoomLease,
): Promise<void> {
  const wanted = await rowsOf(
    context.db,
    "select 1 as wanted from memberships where room_id = ? and user_id = ? and desired = 'in' and role <> 'guest'",
    [room.id, member.userId],
  );
  if (wanted.length === 0) throw new NotWanted("not a member");
  lease.check();
  const observer = await homeserver.as(room.observer_matrix_id);
  const target = { matrixRoomId: room.matrix_room_id, matrixUserId: member.matrixUserId };
  await actAs(homeserver, member.matrixUserId, (self) => joinMember(observer, self, target));
  // A role above member counts only when the map names it: the members' job is due for those alone.
  await context.db.raw(
    `with joined as (
       update memberships set applied = 'in' where room_id = :roomId and user_id = :userId returning role
     )
     update rooms set members_next_attempt_at = least(coalesce(members_next_attempt_at, now()), now()),
            members_desired_version = members_desired_version + 1
      where id = :roomId and exists (select 1 from joined where role <> 'member')`,
    { roomId: room.id, userId: member.userId },
  );
}
