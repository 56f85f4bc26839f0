/**
 * Every Redis key and pub/sub channel. Row ids are uuids, so tenants cannot meet. We speak to one Redis, not to a cluster;
 * the hash tag names what belongs together (a room's keys, a user's, the queues'), and would have to be on one node of one.
 */

/** Stream of one room's timeline in one epoch; entry ids are `<number>-0`. */
export function roomStreamKey(roomId: string, epoch: string): string {
  return `omc:{${roomId}}:${epoch}:stream`;
}

/** Live publications of one room. */
export function roomLiveChannel(roomId: string): string {
  return `omc:{${roomId}}:live`;
}

/** Hints to one user: a stream, beside the epoch that it was begun with. */
export function userStreamKey(userId: string): string {
  return `omc:{${userId}}:stream`;
}

export function userEpochKey(userId: string): string {
  return `omc:{${userId}}:epoch`;
}

/** Live publications and orders (subscribe, disconnect) to one user's connections. */
export function userLiveChannel(userId: string): string {
  return `omc:{${userId}}:live`;
}

/** A realtime process's sign of life to itself: proves that what is published arrives. */
export function heartbeatChannel(nodeId: string): string {
  return `omc:{${nodeId}}:probe`;
}

/** How often somebody asked lately; `owner` is a tenant's row id, a key's id, or the name of an address. */
export function limitKey(owner: string, what: string): string {
  return `omc:{${owner}}:limit:${what}`;
}

/** Absent after a flush or on an empty replica: tells that streams must be rebuilt. */
export const MARKER_KEY = "omc:marker";

/** Written to know that Redis takes writes; what it holds is of no use. */
export const WRITABLE_KEY = "omc:writable";

/** Prefix of everything BullMQ keeps. */
export const QUEUE_PREFIX = "{omc-queue}";
