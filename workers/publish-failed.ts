import type { Publication, RoomLiveMessage } from "../shared/frames.ts";
import { roomLiveChannel } from "../shared/keys.ts";
import { formatRoomKey, type RoomKind } from "../shared/names.ts";
import type { WorkerContext } from "./context.ts";

/** Tells a room that a message will never be sent. A hint: the message's status is the truth, so a loss is no harm. */
export async function publishFailed(
  { redis, log }: WorkerContext,
  room: { id: string; kind: RoomKind; slug: string },
  message: { id: string; code: string; reason: string },
): Promise<void> {
  const data: Publication = {
    type: "message.failed",
    room: formatRoomKey(room),
    id: message.id,
    error: { code: message.code, message: message.reason },
  };
  const live: RoomLiveMessage = {
    number: null,
    epoch: "",
    leaver: null,
    requestId: null,
    data: JSON.stringify(data),
  };
  await redis.publish(roomLiveChannel(room.id), JSON.stringify(live)).catch((error: unknown) => {
    log.debug({ err: error, message: message.id }, "telling of a dead message failed");
  });
}
