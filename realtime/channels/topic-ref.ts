import { roomLiveChannel, userLiveChannel } from "../../shared/platform/redis-keys.ts";

/** What a client can subscribe to: a room's timeline or a user's events. `id` is the row id, `channel` the client's name for it. */
export type TopicRef = { kind: "room" | "user"; id: string; channel: string };

/**
 * The last number of a stream. `sentUpTo`: all of a room's messages up to it are seen on Matrix or dead; at most `number`,
 * absent for a user's stream. `scrubs`: of a room's stream, see `room_timeline`; absent for 0. `members` and `channel`: of a room.
 */
export type StreamTop = {
  epoch: string;
  number: number;
  sentUpTo?: number;
  scrubs?: number;
  members?: number;
  channel?: string;
};

/**
 * An entry of a stream. `removedUserId`: the user whose subscription ends before the entry is delivered. `requestId`: the
 * request that caused it, where one did. `data` is JSON text.
 */
export type Entry = { number: number; removedUserId: string | null; requestId: string | null; data: string };

export function liveChannelOf(ref: TopicRef): string {
  return ref.kind === "room" ? roomLiveChannel(ref.id) : userLiveChannel(ref.id);
}
