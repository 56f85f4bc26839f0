import { z } from "zod";
import { readPositions } from "../../shared/db/memberships/subscription-rights.ts";
import { readEntries } from "../../shared/db/timeline/publish-state.ts";
import { roomLiveMessage, type RoomLiveMessage } from "../../shared/timeline/live-messages.ts";
import { roomStreamKey, userStreamKey } from "../../shared/platform/redis-keys.ts";
import { formatLive, publishRooms, readStreamEnds, type Publishing } from "../../shared/timeline/publish.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";
import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";
import { createSingleFlight } from "../../shared/platform/concurrency/single-flight.ts";
import { readUserPositions, type StreamPosition } from "../../shared/timeline/user-stream.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import { liveChannelOf, type Entry, type StreamTop, type TopicRef } from "./topic-ref.ts";

/** The `count` entries of a stream that follow the entry `after`. */
export type ReadRequest = { ref: TopicRef; epoch: string; scrubs: number; after: number; count: number };

export type StreamsDeps = Publishing & { metrics: Pick<RealtimeMetrics, "malformed" | "readTimeline"> };

const USER_READS_AT_ONCE = 4;
const streamEntries = z.array(z.tuple([z.string(), z.array(z.string())]));

/**
 * What the topics of this process are read from. A room's stream in Redis is a window of its timeline in Postgres: what the
 * window does not have is read from the timeline. A user's stream is in Redis alone.
 */
export class Streams {
  readonly #deps: StreamsDeps;
  /** Each position is read after it was asked for. */
  readonly #readUserPosition: (userId: string) => Promise<StreamPosition | undefined>;
  /** Rooms whose timelines were read. Their streams may be behind. */
  readonly #suspects = new Map<string, { epoch: string; scrubs: number }>();
  readonly #publishSuspects: () => Promise<void>;

  constructor(deps: StreamsDeps) {
    this.#deps = deps;
    this.#readUserPosition = createBatcher(USER_READS_AT_ONCE, (ids) => readUserPositions(deps.redis, ids));
    this.#publishSuspects = createSingleFlight(() => this.#publishBehind());
  }

  /** The tops of streams, by live channel: rooms from Postgres in one query, users from Redis. */
  async tops(refs: readonly TopicRef[]): Promise<Map<string, StreamTop>> {
    const tops = new Map<string, StreamTop>();
    const rooms = new Map(refs.flatMap((ref) => (ref.kind === "room" ? [[ref.id, ref]] : [])));
    const users = refs.filter(({ kind }) => kind === "user");
    const rows = rooms.size > 0 ? await readPositions(this.#deps.db, [...rooms.keys()]) : [];
    for (const row of rows) {
      const { epoch, scrubs, last_number: number, sent_number: sentUpTo, member_count: members } = row;
      const ref = rooms.get(row.room_id);
      const channel = formatRoomKey(row);
      if (ref) tops.set(liveChannelOf(ref), { epoch, scrubs, number, sentUpTo, members, channel });
    }
    await Promise.all(
      users.map(async (ref) => {
        const position = await this.#readUserPosition(ref.id);
        if (position) tops.set(liveChannelOf(ref), { epoch: position.epoch, number: position.offset });
      }),
    );
    return tops;
  }

  /**
   * Of each request, the entries that exist, up to the first one that does not. One round trip to Redis, and one to Postgres
   * where streams lack entries of rooms.
   */
  async read(requests: readonly ReadRequest[]): Promise<Entry[][]> {
    if (requests.length === 0) return [];
    const found = await this.#readStreams(requests);
    const lacks = requests.flatMap((request, index) => findLack(request, found[index]) ?? []);
    if (lacks.length > 0) await this.#readTimelines(lacks);
    return requests.map((request, index) => takeWhole(request, found[index]));
  }

  /** Of each request, the entries by number that Redis has. */
  async #readStreams(requests: readonly ReadRequest[]): Promise<Map<number, Entry>[]> {
    const pipeline = this.#deps.redis.pipeline();
    for (const { ref, epoch, scrubs, after, count } of requests) {
      const key = ref.kind === "room" ? roomStreamKey(ref.id, epoch, scrubs) : userStreamKey(ref.id);
      pipeline.xrange(key, `${after + 1}-0`, `${after + count}-0`);
    }
    const answers = (await pipeline.exec()) ?? [];
    return requests.map(({ ref }, index) => {
      const [error, rows] = answers[index] ?? [null, []];
      if (error) throw error;
      const entries = streamEntries.parse(rows).flatMap(([id, fields]) => this.#parse(ref, id, fields));
      return new Map(entries.map((entry) => [entry.number, entry]));
    });
  }

  #parse(ref: TopicRef, id: string, [, value = ""]: readonly string[]): Entry[] {
    if (ref.kind === "user")
      return [{ number: Number.parseInt(id, 10), removedUserId: null, requestId: null, data: value }];
    const message = roomLiveMessage.safeParse(parseJson(value)).data;
    if (message && message.number !== null) return [toEntry(message, message.number)];
    this.#deps.metrics.malformed();
    return [];
  }

  /** Adds to `found` what Postgres has, as the entries are now. A room that has another epoch by now has no entries. */
  async #readTimelines(lacks: readonly Lack[]): Promise<void> {
    const rows = await readEntries(this.#deps.db, lacks);
    this.#deps.metrics.readTimeline(rows.length);
    const byRoom = new Map(lacks.map((lack) => [lack.roomId, lack]));
    for (const row of rows) {
      const lack = byRoom.get(row.room_id);
      try {
        lack?.found.set(row.number, toEntry(formatLive(row, lack), row.number));
      } catch {
        // An entry of a newer version, which this process cannot present. It is read as one that does not exist.
        this.#deps.metrics.malformed();
      }
    }
    for (const { roomId, epoch, scrubs } of lacks) this.#suspects.set(roomId, { epoch, scrubs });
    // The sweeper publishes what this attempt does not.
    this.#publishSuspects().catch(() => undefined);
  }

  /** Publishes the rooms whose streams end before their timelines. A stream that is gone stays so until its next entry. */
  async #publishBehind(): Promise<void> {
    const rooms = [...this.#suspects].map(([id, stream]) => ({ room_id: id, ...stream }));
    this.#suspects.clear();
    if (rooms.length === 0) return;
    const [ends, tops] = await Promise.all([
      readStreamEnds(this.#deps.redis, rooms),
      readPositions(this.#deps.db, [...rooms.map(({ room_id: id }) => id)]),
    ]);
    const behind = tops.filter(({ room_id: id, last_number: last }) => {
      const end = ends.get(id) ?? 0;
      return end > 0 && end < last;
    });
    await publishRooms(
      this.#deps,
      behind.map(({ room_id: id }) => id),
    );
  }
}

/** A part of a timeline that a stream lacks, and where its entries are added. */
type Lack = {
  roomId: string;
  epoch: string;
  scrubs: number;
  after: number;
  limit: number;
  found: Map<number, Entry>;
};

/** From the first to the last entry that the stream of a room lacks; null when it lacks none. */
function findLack(
  { ref, epoch, scrubs, after, count }: ReadRequest,
  found = new Map<number, Entry>(),
): Lack | null {
  if (ref.kind === "user" || found.size === count) return null;
  let first = after + 1;
  while (found.has(first)) first += 1;
  let last = after + count;
  while (found.has(last)) last -= 1;
  return { roomId: ref.id, epoch, scrubs, after: first - 1, limit: last - first + 1, found };
}

function takeWhole({ after, count }: ReadRequest, found = new Map<number, Entry>()): Entry[] {
  const entries: Entry[] = [];
  for (let number = after + 1; number <= after + count; number++) {
    const entry = found.get(number);
    if (!entry) break;
    entries.push(entry);
  }
  return entries;
}

function toEntry({ leaver, requestId, data }: RoomLiveMessage, number: number): Entry {
  return { number, removedUserId: leaver, requestId, data };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
