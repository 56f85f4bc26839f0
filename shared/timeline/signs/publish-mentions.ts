import { formatRoomKey } from "../../contract/names.ts";
import type { Db } from "../../db/connection/open.ts";
import { listMentioned } from "../../db/memberships/mentions/mentions.ts";
import type { EntryRow } from "../../db/timeline/entries.ts";
import type { Redis } from "../../platform/redis.ts";
import { presentSender } from "../present/person.ts";
import { publishUserEvents } from "../user-stream.ts";

/**
 * Publishes to people that new messages mention them, or edits that are the first to do so, on all their devices. Nothing is
 * looked up for what mentions nobody. @throws what Redis or Postgres throws
 */
export async function publishMentions(
  { db, redis }: { db: Db; redis: Redis },
  entries: readonly EntryRow[],
): Promise<void> {
  const messages = entries.filter(mayMention);
  if (messages.length === 0) return;
  const named = messages.map(({ room_id: roomId, entry_id: id, type, relates_to: target, number }) =>
    type === "message.edited"
      ? { roomId, messageId: target ?? id, edit: number }
      : { roomId, messageId: id, edit: null },
  );
  const mentioned = await listMentioned(db, named);
  await publishUserEvents(
    redis,
    mentioned.map((row) => ({
      userId: row.user_id,
      event: {
        type: "mention",
        ...{ room: formatRoomKey(row), message: row.message_id, number: row.number },
        by: presentSender(row, row.room_id),
      },
    })),
  );
}

function mayMention({ type, content }: EntryRow): boolean {
  if (type === "message.edited") return "mentions" in content;
  return type === "message.created" && ("mentions" in content || "replyTo" in content);
}
