import { presentMessage, type MessageRow } from "./db/messages.ts";
import type { Publication, RoomLiveMessage } from "./frames.ts";
import { roomLiveChannel } from "./keys.ts";
import type { Redis } from "./redis.ts";

const LIMIT_MS = 250;

type Ephemeral = { roomId: string; requestId: string | null; publication: Publication };

/**
 * Shows accepted messages to their rooms before Matrix has them. Resolves within 250 ms, false when Redis did not take
 * all of them: never throws and is not repeated, since the timeline tells them again.
 */
export function publishPending(redis: Redis, rows: readonly MessageRow[]): Promise<boolean> {
  return publishEphemeral(
    redis,
    rows.map((row) => ({
      roomId: row.room_id,
      requestId: row.request_id,
      publication: { type: "message.pending", ...presentMessage(row) },
    })),
  );
}

/** A message that will not be sent, to be told to its room. */
export type FailedMessage = {
  roomId: string;
  room: string;
  id: string;
  error: { code: string; message: string };
};

/** Tells rooms of messages that will not be sent; under the same terms as `publishPending`. */
export function publishFailed(redis: Redis, failed: readonly FailedMessage[]): Promise<boolean> {
  return publishEphemeral(
    redis,
    failed.map(({ roomId, room, id, error }) => ({
      roomId,
      requestId: null,
      publication: { type: "message.failed", room, id, error },
    })),
  );
}

async function publishEphemeral(redis: Redis, list: readonly Ephemeral[]): Promise<boolean> {
  if (list.length === 0) return true;
  const told = tell(redis, list).then(
    () => true,
    () => false,
  );
  return Promise.race([told, afterLimit()]);
}

/** All in one write. @throws what Redis throws, of the first that failed. */
async function tell(redis: Redis, list: readonly Ephemeral[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const { roomId, requestId, publication } of list) {
    const live: RoomLiveMessage = {
      number: null,
      epoch: "",
      leaver: null,
      requestId,
      data: JSON.stringify(publication),
    };
    pipeline.publish(roomLiveChannel(roomId), JSON.stringify(live));
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}

function afterLimit(): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => {
      resolve(false);
    }, LIMIT_MS).unref();
  });
}
