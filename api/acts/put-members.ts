import type { Db } from "../../shared/db/open.ts";
import { lockRoom } from "../../shared/db/rooms.ts";
import { transact } from "../../shared/db/transact.ts";
import { AppError } from "../../shared/errors.ts";
import type { RoomAddress } from "../../shared/names.ts";
import { appendEntries } from "../../shared/timeline/append.ts";
import { effectsOnRoom, type Effects } from "./effects.ts";
import { wishMembers, type MemberWish } from "./wish-members.ts";

/** Adds and changes members, all or none. Returns the room's row id too. @throws AppError `not_found`, `conflict`, `too_many_roles`. */
export function putMembers(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  members: readonly MemberWish[],
): Promise<{ roomId: string; effects: Effects }> {
  return transact(db, async (trx) => {
    const room = await lockRoom(trx, tenantId, address);
    if (!room) throw new AppError("not_found", "There is no such room.");
    const entries = await wishMembers(trx, room, members);
    await appendEntries(trx, [{ roomId: room.id, entries }]);
    const effects = effectsOnRoom(
      { tenantId, roomId: room.id },
      { room: false, members: entries.length > 0 },
    );
    return { roomId: room.id, effects };
  });
}
