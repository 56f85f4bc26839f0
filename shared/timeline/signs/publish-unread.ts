import { BIG_ROOM_MEMBERS } from "../../contract/big-room.ts";
import { formatRoomKey } from "../../contract/names.ts";
import { rolesAllowed } from "../../contract/permissions.ts";
import type { Publication } from "../../contract/frames.ts";
import {
  findPositionsBelow,
  type DeletedMessage,
  type MovedPosition,
  type Position,
} from "../../db/memberships/signs/positions.ts";
import { countUnread } from "../../db/memberships/signs/unread.ts";
import type { Db } from "../../db/connection/open.ts";
import type { Redis } from "../../platform/redis.ts";
import type { Receipt } from "./receipts.ts";
import { publishUserEvents } from "../user-stream.ts";

/**
 * Publishes to members what is unread of a room and of all their rooms, on all their devices. Best effort: the truth is
 * `GET /v1/me/unread`. One query and one round trip. @throws what Redis or Postgres throws
 */
export async function publishUnread(
  { db, redis }: { db: Db; redis: Redis },
  positions: readonly Position[],
): Promise<void> {
  if (positions.length === 0) return;
  const userIds = [...new Set(positions.map(({ user_id: userId }) => userId))];
  const totals = new Map((await countUnread(db, userIds)).map((total) => [total.user_id, total]));
  await publishUserEvents(
    redis,
    positions.map((position) => {
      const { unread = 0, mentions = 0 } = totals.get(position.user_id) ?? {};
      return { userId: position.user_id, event: toPublication(position, { unread, mentions }) };
    }),
  );
}

/** Publishes to those who had not read some messages that their deletion lowers what is unread. */
export async function publishUnreadBelow(
  deps: { db: Db; redis: Redis },
  deleted: readonly DeletedMessage[],
): Promise<void> {
  if (deleted.length > 0) await publishUnread(deps, await findPositionsBelow(deps.db, deleted));
}

function toPublication(position: Position, total: { unread: number; mentions: number }): Publication {
  const { unread, mentions, first_unread: firstUnread } = position;
  return { type: "unread", room: formatRoomKey(position), unread, mentions, firstUnread, total };
}

/** What others see of positions that moved: nothing of guests, and nothing in big rooms. */
export function receiptsOf(
  positions: readonly MovedPosition[],
  { isForMatrix }: { isForMatrix: boolean },
): Receipt[] {
  return positions
    .filter(
      (row) =>
        row.has_receipt &&
        rolesAllowed("send receipts").includes(row.role) &&
        row.member_count <= BIG_ROOM_MEMBERS,
    )
    .map((row) => ({
      room: { kind: row.kind, slug: row.slug, room_id: row.room_id, epoch: row.epoch },
      person: {
        ...{ ref: row.user_id, user: row.external_id },
        ...{ displayName: row.display_name, avatar: row.avatar },
      },
      number: row.receipt_number,
      isForMatrix,
    }));
}
