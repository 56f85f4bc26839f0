import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import { parsePublication, type Publication } from "../../shared/contract/frames.ts";
import { roomLiveChannel, userLiveChannel } from "../../shared/platform/redis-keys.ts";
import { waitForRedis, type Redis } from "../../shared/platform/redis.ts";

/** What is published on live channels, oldest first, until `close`. */
export type LiveChannel = { published: Publication[]; close: () => void };

/** Listens to the channels of a room and of some users, by their row ids. */
export async function listenTo(
  redis: Redis,
  roomId: string,
  userIds: readonly string[] = [],
): Promise<LiveChannel> {
  const subscriber = redis.duplicate();
  const published: Publication[] = [];
  subscriber.on("message", (_channel, text) => {
    const { data } = JSON.parse(text) as { data?: string };
    const event = data === undefined ? null : parsePublication(JSON.parse(data));
    if (event) published.push(event);
  });
  await waitForRedis(subscriber, 5_000);
  await subscriber.subscribe(roomLiveChannel(roomId), ...userIds.map(userLiveChannel));
  return { published, close: () => subscriber.disconnect() };
}

/** Who types in a room, in each list that was published. */
export function typistsIn(channel: LiveChannel, room: RoomAddress): (string | null)[][] {
  return channel.published.flatMap((event) =>
    event.type === "typing" && event.room === formatRoomKey(room)
      ? [event.users.map(({ user, displayName }) => user ?? displayName)]
      : [],
  );
}
