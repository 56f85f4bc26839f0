/**
 * Every Redis key and pub/sub channel. Row ids are uuids, so keys of two tenants never collide. The project uses one
 * Redis, not a cluster; in a cluster, the hash tag would keep the keys of a room, of a user, and of the queues together.
 */

/**
 * The stream of one room's timeline in one epoch; entry ids are `<number>-0`. `scrubs`: see `room_timeline`. It is not in the key
 * before the first time: version 0.3 knows no other.
 */
export function roomStreamKey(roomId: string, epoch: string, scrubs = 0): string {
  return scrubs === 0 ? `omc:{${roomId}}:${epoch}:stream` : `omc:{${roomId}}:${epoch}:${scrubs}:stream`;
}

/** The highest `sent` that was published to one room in one epoch. */
export function roomSentKey(roomId: string, epoch: string): string {
  return `omc:{${roomId}}:${epoch}:sent`;
}

/** Live publications of one room. */
export function roomLiveChannel(roomId: string): string {
  return `omc:{${roomId}}:live`;
}

/** Who is typing in one room, from where, until when, and the list that was published last. */
export function roomTypingKey(roomId: string): string {
  return `omc:{${roomId}}:typing`;
}

/** Rooms in which somebody is typing, by when the first of them ends. */
export const TYPING_DUE_KEY = "omc:typing";

/**
 * Which realtime processes hold people of one room, and what was published last. The people of each are a set beside it, under this
 * key, `:` and the process.
 */
export function roomPresenceKey(roomId: string): string {
  return `omc:{${roomId}}:presence`;
}

/** Realtime processes that live, by until when: what one that is missing says of its people does not count. */
export const PRESENCE_PROCESSES_KEY = "omc:presence";

/** What of one room's people Matrix is to have: who is typing, who has read what. */
export function roomSignsKey(roomId: string): string {
  return `omc:{${roomId}}:signs`;
}

/** Rooms with such signs, by when the next of them may go. */
export const SIGNS_DUE_KEY = "omc:signs";

/** The stream of one user's events. `userEpochKey` holds the epoch of this stream. */
export function userStreamKey(userId: string): string {
  return `omc:{${userId}}:stream`;
}

export function userEpochKey(userId: string): string {
  return `omc:{${userId}}:epoch`;
}

/** Live publications and control messages (subscribe, disconnect) to one user's connections. */
export function userLiveChannel(userId: string): string {
  return `omc:{${userId}}:live`;
}

/** A realtime process's heartbeat to itself: it proves that publications arrive. */
export function heartbeatChannel(nodeId: string): string {
  return `omc:{${nodeId}}:probe`;
}

/** The recent requests of one owner: a tenant's row id, an API key's id, or the name of an address. */
export function limitKey(owner: string, what: string): string {
  return `omc:{${owner}}:limit:${what}`;
}

/** The open sockets of one user, by connection id, with when each began and until when it counts. */
export function userSocketsKey(userId: string): string {
  return `omc:{${userId}}:sockets`;
}

/** How many open sockets of one tenant each realtime process has, and until when that counts. */
export function tenantSocketsKey(tenantId: string): string {
  return `omc:{${tenantId}}:sockets`;
}

/** The same of the sockets of one address that no user has connected. `name` stands for the address. */
export function addressSocketsKey(name: string): string {
  return `omc:{${name}}:unconnected`;
}

/** Absent after a flush or on an empty replica: then every position is compared with Postgres. */
export const MARKER_KEY = "omc:marker";

/** Written to prove that Redis accepts writes. Its value means nothing. */
export const WRITABLE_KEY = "omc:writable";

/** The prefix of all keys of BullMQ. */
export const QUEUE_PREFIX = "{omc-queue}";
