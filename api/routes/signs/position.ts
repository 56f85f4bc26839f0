import { z } from "zod";
import { formatRoomKey } from "../../../shared/contract/names.ts";
import type { Position } from "../../../shared/db/memberships/signs/positions.ts";

export const numberBody = z.strictObject({ number: z.int().min(0).max(999_999_999_999_999) });

export const positionResource = z
  .strictObject({
    room: z.string(),
    number: z.int().meta({ description: "The room is read up to this number" }),
    unread: z.int().meta({ description: "Messages above it, without one's own and deleted ones" }),
    mentions: z.int(),
    firstUnread: z.int().nullable().meta({ description: "Number of the first of them" }),
  })
  .meta({ id: "Position" });

/** How far the caller has read, as the caller sees it. */
export function presentPosition(position: Position): z.infer<typeof positionResource> {
  const { read_number: number, unread, mentions, first_unread: firstUnread } = position;
  return { room: formatRoomKey(position), number, unread, mentions, firstUnread };
}
