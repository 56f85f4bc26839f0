import type { Person } from "../../shared/contract/resources.ts";
import { receiveReceipts } from "../../shared/db/memberships/signs/positions.ts";
import { findTypists, type TypistsOfRoom } from "../../shared/db/memberships/signs/signs.ts";
import { personRef } from "../../shared/platform/ids.ts";
import { publishUnread, receiptsOf } from "../../shared/timeline/signs/publish-unread.ts";
import { publishReceipts } from "../../shared/timeline/signs/receipts.ts";
import { setTypingOnMatrix } from "../../shared/timeline/signs/typing.ts";
import type { RoomSigns } from "../matrix/sync/signs.ts";
import type { WorkerContext } from "../runtime/context.ts";
import type { NameOf } from "./names.ts";

/** People who type in one room, as a publication may show at most. */
const TYPISTS_AT_MOST = 100;

type ReceiveContext = Pick<WorkerContext, "db" | "redis">;
type Reader = { observerId: string; tenantId: string; matrixUserId: string };

/**
 * Takes over what an observer has read of signs on Matrix: who is typing replaces what Matrix said of the room before; receipts
 * move positions. A sign of ours that comes back changes nothing. @throws what Redis or Postgres throws
 */
export async function receiveSigns(
  context: ReceiveContext,
  reader: Reader,
  signs: readonly RoomSigns[],
  nameOf: NameOf,
): Promise<void> {
  await receiveTyping(context, reader, signs, nameOf);
  const receipts = signs.flatMap(({ matrixRoomId, receipts: read }) =>
    read.filter(isStorable).map((receipt) => ({ matrixRoomId, ...receipt })),
  );
  if (receipts.length === 0) return;
  const moved = await receiveReceipts(context.db, reader.observerId, receipts);
  await publishReceipts(context.redis, receiptsOf(moved, { isForMatrix: false }));
  await publishUnread(context, moved);
}

async function receiveTyping(
  { db, redis }: ReceiveContext,
  reader: Reader,
  signs: readonly RoomSigns[],
  nameOf: NameOf,
): Promise<void> {
  const lists = signs.flatMap(({ matrixRoomId, typing }) => {
    if (typing === null) return [];
    const others = typing.filter((user) => user !== reader.matrixUserId && isText(user));
    return [{ matrixRoomId, matrixUserIds: others.slice(0, TYPISTS_AT_MOST) }];
  });
  if (lists.length === 0) return;
  const rooms = await findTypists(db, reader, lists);
  const named = await Promise.all(
    rooms.map(async (room) => ({ room, people: await peopleOf(room, reader, nameOf) })),
  );
  await setTypingOnMatrix(redis, named);
}

/** A member who may not write does not type either; one whom the tenant does not know may. */
function peopleOf(room: TypistsOfRoom, { tenantId }: Reader, nameOf: NameOf): Promise<Person[]> {
  return Promise.all(
    room.typists.map(async ({ matrix_user_id: matrixUserId, ...user }): Promise<Person> => {
      if (user.id !== null)
        return {
          ...{ ref: user.id, user: user.external_id },
          ...{ displayName: user.display_name, avatar: user.avatar },
        };
      const displayName = await nameOf(room.matrix_room_id, matrixUserId);
      return { ref: personRef(matrixUserId, tenantId), user: null, displayName, avatar: null };
    }),
  );
}

function isStorable({ matrixUserId, eventId }: { matrixUserId: string; eventId: string }): boolean {
  return isText(matrixUserId) && isText(eventId);
}

/** Any field may be any text: one that Postgres refuses is no id. */
function isText(id: string): boolean {
  return !id.includes("\0") && id.isWellFormed();
}
