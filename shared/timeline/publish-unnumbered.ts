import { presentMessage, type Accepted } from "../db/messages/messages.ts";
import type { TimelinePosition } from "../db/timeline/pages.ts";
import type { Publication } from "../contract/frames.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import { withTimeout } from "../platform/concurrency/with-timeout.ts";
import { roomLiveChannel } from "../platform/redis-keys.ts";
import type { Redis } from "../platform/redis.ts";

const LIMIT_MS = 250;

/** `position`: what the timeline has up to there is told first, removals above all. */
type Ephemeral = {
  roomId: string;
  requestId: string | null;
  position: TimelinePosition;
  publication: Publication;
};

/**
 * Shows accepted messages to their rooms before Matrix has them. Resolves within 250 ms, false when Redis did not take
 * all of them: never throws and is not repeated, since the timeline tells them again.
 */
export function publishPending(redis: Redis, accepted: readonly Accepted[]): Promise<boolean> {
  return publishEphemeral(
    redis,
    accepted.map(({ message, position }) => ({
      roomId: message.room_id,
      requestId: message.request_id,
      position,
      publication: { type: "message.pending", ...presentMessage(message) },
    })),
  );
}

/** A message that will not be sent, to be told to its room. */
export type FailedMessage = {
  roomId: string;
  position: TimelinePosition;
  room: string;
  id: string;
  error: { code: string; message: string };
};

/** Tells rooms of messages that will not be sent; under the same terms as `publishPending`. */
export function publishFailed(redis: Redis, failed: readonly FailedMessage[]): Promise<boolean> {
  return publishEphemeral(
    redis,
    failed.map(({ roomId, position, room, id, error }) => ({
      roomId,
      position,
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
  return withTimeout(told, LIMIT_MS, () => false);
}

/** All in one write. @throws what Redis throws, of the first that failed. */
async function tell(redis: Redis, list: readonly Ephemeral[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const { roomId, requestId, position, publication } of list) {
    const live: RoomLiveMessage = {
      number: null,
      after: position.lastNumber,
      epoch: position.epoch,
      leaver: null,
      requestId,
      data: JSON.stringify(publication),
    };
    pipeline.publish(roomLiveChannel(roomId), JSON.stringify(live));
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}
