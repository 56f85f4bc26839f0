import { formatRoomKey } from "../../shared/contract/names.ts";
import { DEAD_REASONS } from "../../shared/db/messages/dead-messages.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import type { SideEffect } from "../after-commit/side-effects.ts";

const ERROR = {
  code: "sender_removed",
  message: DEAD_REASONS.sender_removed,
};

/** Publishes the removed user's dead messages to their rooms, after the entries of the removal. */
export function describeDeadMessages(
  removals: readonly AppendedRow[],
  dead: readonly { id: string; room_id: string }[],
): SideEffect[] {
  const byRoom = new Map(removals.map((row) => [row.room_id, row]));
  return dead.flatMap(({ id, room_id: roomId }): SideEffect[] => {
    const row = byRoom.get(roomId);
    if (!row) return [];
    const position = { epoch: row.epoch, lastNumber: row.last_number };
    const message = { roomId, position, room: formatRoomKey(row), id, error: ERROR };
    return [{ type: "publishFailed", message }];
  });
}
