import type { Accepted } from "../db/messages/accept-messages.ts";
import { presentMessage } from "../db/messages/messages.ts";
import type { TimelinePosition } from "../db/timeline/pages.ts";
import type { Publication } from "../contract/frames.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import { withTimeout } from "../platform/concurrency/with-timeout.ts";
import { roomLiveChannel } from "../platform/redis-keys.ts";
import type { Redis } from "../platform/redis.ts";

const LIMIT_MS = 250;

/** `position`: clients receive what the timeline holds up to there first; above all, removals of members. */
type UnnumberedEvent = {
  roomId: string;
  requestId: string | null;
  position: TimelinePosition;
  publication: Publication;
};

/**
 * Publishes accepted messages to their rooms before Matrix has them. Resolves within 250 ms, false when Redis did not take
 * all of them. It never throws and is not repeated, because the timeline publishes the same messages later.
 */
export function publishPending(redis: Redis, accepted: readonly Accepted[]): Promise<boolean> {
  return publishUnnumbered(
    redis,
    accepted.map(({ message, position }) => ({
      roomId: message.room_id,
      requestId: message.request_id,
      position,
      publication: { type: "message.pending", ...presentMessage(message) },
    })),
  );
}

/** A message that will not be sent, for the members of its room. */
export type FailedMessage = {
  roomId: string;
  position: TimelinePosition;
  room: string;
  id: string;
  error: { code: string; message: string };
};

/** Publishes to rooms which of their messages will not be sent; on the same terms as `publishPending`. */
export function publishFailed(redis: Redis, failed: readonly FailedMessage[]): Promise<boolean> {
  return publishUnnumbered(
    redis,
    failed.map(({ roomId, position, room, id, error }) => ({
      roomId,
      position,
      requestId: null,
      publication: { type: "message.failed", room, id, error },
    })),
  );
}

async function publishUnnumbered(redis: Redis, events: readonly UnnumberedEvent[]): Promise<boolean> {
  if (events.length === 0) return true;
  const published = publishTogether(redis, events).then(
    () => true,
    () => false,
  );
  return withTimeout(published, LIMIT_MS, () => false);
}

/** Publishes in one write. @throws the first failure of Redis. */
async function publishTogether(redis: Redis, events: readonly UnnumberedEvent[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const { roomId, requestId, position, publication } of events) {
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
