import { formatRoomKey } from "../contract/names.ts";
import type { Publication } from "../contract/frames.ts";
import { clearSentDue, storeSentNumbers, type SentNumber } from "../db/rooms/room-mirrors.ts";
import { roomLiveChannel, roomSentKey } from "../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../platform/redis-script.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import type { Publishing } from "./publish.ts";

/** As long as Redis keeps a stream. */
const KEPT_S = 86_400;

// Publishes a number that is higher than the last one. Returns 1 when it did. ARGV channel, number, ttl, message.
const PUBLISH_SCRIPT = createScript(`
if tonumber(ARGV[2]) <= tonumber(redis.call('GET', KEYS[1]) or '0') then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[4])
return 1`);

/**
 * Publishes how far Matrix has some rooms, where that is due: `sent`, an unnumbered event after the entry whose number it has.
 * Never backwards, and nothing where the number has not risen. What fails stays due. Several processes may run it at once.
 * Returns how many rooms were published.
 * @throws what Redis or Postgres throws
 */
export async function publishSent({ db, redis }: Publishing, roomIds: readonly string[]): Promise<number> {
  const due = await storeSentNumbers(db, roomIds);
  if (due.length === 0) return 0;
  const replies = await runScripts(redis, due.filter((row) => !row.is_deleted).map(toScriptCall));
  await clearSentDue(db, due);
  return replies.filter((reply) => reply === 1).length;
}

function toScriptCall(row: SentNumber): ScriptCall {
  const { room_id: roomId, epoch, sent_number: number } = row;
  const publication: Publication = { type: "sent", room: formatRoomKey(row), number };
  const live: RoomLiveMessage = {
    number: null,
    after: number,
    epoch,
    leaver: null,
    requestId: null,
    data: JSON.stringify(publication),
  };
  return {
    script: PUBLISH_SCRIPT,
    keys: [roomSentKey(roomId, epoch)],
    args: [roomLiveChannel(roomId), number, KEPT_S, JSON.stringify(live)],
  };
}
