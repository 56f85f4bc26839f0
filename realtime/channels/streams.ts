import { z } from "zod";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import { roomLiveMessage } from "../../shared/timeline/live-messages.ts";
import { roomStreamKey, userStreamKey } from "../../shared/platform/redis-keys.ts";
import { publishRooms, type Publishing } from "../../shared/timeline/publish.ts";
import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";
import { readUserPositions, type StreamPosition } from "../../shared/timeline/user-stream.ts";
import { liveChannelOf, type Entry, type StreamTop, type TopicRef } from "./topic-ref.ts";

export type ReadRequest = { ref: TopicRef; epoch: string; after: number; limit: number };

const USER_READS_AT_ONCE = 4;
const streamEntries = z.array(z.tuple([z.string(), z.array(z.string())]));

/** The streams in Redis. A room's stream is repaired from Postgres when it lacks entries. */
export class Streams {
  readonly #deps: Publishing;
  /** Each position is read after it was asked for. */
  readonly #readUserPosition: (userId: string) => Promise<StreamPosition | undefined>;
  readonly #repairs = new Map<string, Promise<void>>();

  constructor(deps: Publishing) {
    this.#deps = deps;
    this.#readUserPosition = createBatcher(USER_READS_AT_ONCE, (ids) => readUserPositions(deps.redis, ids));
  }

  /** The tops of streams, by live channel: rooms from Postgres in one query, users from Redis. */
  async tops(refs: readonly TopicRef[]): Promise<Map<string, StreamTop>> {
    const tops = new Map<string, StreamTop>();
    const rooms = refs.filter(({ kind }) => kind === "room");
    if (rooms.length > 0) {
      const rows = await readPositions(
        this.#deps.db,
        rooms.map(({ id }) => id),
      );
      const byId = new Map(rows.map((row) => [row.room_id, { epoch: row.epoch, number: row.last_number }]));
      for (const ref of rooms) {
        const top = byId.get(ref.id);
        if (top) tops.set(liveChannelOf(ref), top);
      }
    }
    const users = refs.filter(({ kind }) => kind === "user");
    await Promise.all(
      users.map(async (ref) => {
        const position = await this.#readUserPosition(ref.id);
        if (position) tops.set(liveChannelOf(ref), { epoch: position.epoch, number: position.offset });
      }),
    );
    return tops;
  }

  /** Of each stream, the entries after `after`, oldest first, at most `limit`. One round trip. */
  async read(requests: readonly ReadRequest[]): Promise<Entry[][]> {
    if (requests.length === 0) return [];
    const pipeline = this.#deps.redis.pipeline();
    for (const { ref, epoch, after, limit } of requests) {
      const key = ref.kind === "room" ? roomStreamKey(ref.id, epoch) : userStreamKey(ref.id);
      pipeline.xrange(key, `(${after}-0`, "+", "COUNT", limit);
    }
    const answers = (await pipeline.exec()) ?? [];
    return requests.map(({ ref }, index) => {
      const [error, rows] = answers[index] ?? [null, []];
      if (error) throw error;
      return streamEntries.parse(rows).map(([id, fields]) => parseEntry(ref, id, fields));
    });
  }

  /**
   * Publishes what a room's stream lacks of its timeline. Rebuilds a stream that begins later than the entry after `after`.
   * One repair of a room at a time.
   */
  repair({ ref }: Omit<ReadRequest, "limit">): Promise<void> {
    if (ref.kind === "user") return Promise.resolve();
    const running = this.#repairs.get(ref.id);
    if (running) return running;
    const repair = publishRooms(this.#deps, [ref.id])
      .then(() => undefined)
      .finally(() => this.#repairs.delete(ref.id));
    this.#repairs.set(ref.id, repair);
    return repair;
  }
}

function parseEntry(ref: TopicRef, id: string, fields: readonly string[]): Entry {
  const number = Number(id.slice(0, id.indexOf("-")));
  const value = fields[1] ?? "";
  if (ref.kind === "user") return { number, removedUserId: null, requestId: null, data: value };
  const message = roomLiveMessage.parse(JSON.parse(value));
  return { number, removedUserId: message.leaver, requestId: message.requestId, data: message.data };
}
