import { presentMessage, type MessageRow } from "./db/messages.ts";
import { rowsOf, type Db } from "./db/open.ts";
import type { Publication, RoomLiveMessage } from "./frames.ts";
import { roomLiveChannel } from "./keys.ts";
import type { Redis } from "./redis.ts";

const LIMIT_MS = 250;

type Ephemeral = { roomId: string; publication: Publication };

/**
 * Shows accepted messages to their rooms before Matrix has them. Resolves within 250 ms, false when Redis did not take
 * all of them: never throws and is not repeated, since the timeline tells them again.
 */
export function publishPending(
  deps: { db: Db; redis: Redis },
  rows: readonly MessageRow[],
): Promise<boolean> {
  return publishEphemeral(
    deps,
    rows.map((row) => ({
      roomId: row.room_id,
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
export function publishFailed(
  deps: { db: Db; redis: Redis },
  failed: readonly FailedMessage[],
): Promise<boolean> {
  return publishEphemeral(
    deps,
    failed.map(({ roomId, room, id, error }) => ({
      roomId,
      publication: { type: "message.failed", room, id, error },
    })),
  );
}

async function publishEphemeral(
  deps: { db: Db; redis: Redis },
  list: readonly Ephemeral[],
): Promise<boolean> {
  if (list.length === 0) return true;
  const told = tell(deps, list).then(
    () => true,
    () => false,
  );
  return Promise.race([told, afterLimit()]);
}

async function tell({ db, redis }: { db: Db; redis: Redis }, list: readonly Ephemeral[]): Promise<void> {
  const epochs = await rowsOf<{ room_id: string; epoch: string }>(
    db,
    "select room_id, epoch from room_timeline where room_id = any(?)",
    [[...new Set(list.map(({ roomId }) => roomId))]],
  );
  const epochOf = new Map(epochs.map((row) => [row.room_id, row.epoch]));
  await Promise.all(
    list.map(({ roomId, publication }) => {
      const live: RoomLiveMessage = {
        number: null,
        epoch: epochOf.get(roomId) ?? "",
        leaver: null,
        data: JSON.stringify(publication),
      };
      return redis.publish(roomLiveChannel(roomId), JSON.stringify(live));
    }),
  );
}

function afterLimit(): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => {
      resolve(false);
    }, LIMIT_MS).unref();
  });
}
