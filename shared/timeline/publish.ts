import { roomLiveChannel, roomStreamKey } from "../platform/redis-keys.ts";
import type { Redis } from "../platform/redis.ts";
import type { Db } from "../db/connection/open.ts";
import type { RoomState } from "../db/timeline/append.ts";
import {
  advancePublished,
  readNewestPublished,
  readRoomState,
  readUnpublished,
  replaceEpoch,
  rewindPublished,
  type PublishableRow,
  type PublishedRow,
} from "../db/timeline/publish-state.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import { presentEntry } from "./read.ts";

export type Publishing = { db: Db; redis: Redis };

/** Entries that a stream keeps: as many as one connect may recover. A client further behind reads them through REST. */
const WINDOW_ENTRIES = 300;
/** Redis keeps a stream for clients that are away for a while; one that is gone is rebuilt when a client recovers. */
const STREAM_TTL_S = 86_400;
/** Entries that one round publishes of one room. */
const BATCH_ENTRIES = 300;
const ROUNDS_AT_MOST = 100;

/**
 * Publishes what the timelines of some rooms hold and their streams do not: each entry is added to the stream and
 * published on the live channel in one step. Several processes may run it at once, and repeat it: an entry is added only
 * where it continues its stream, and published only when it is added.
 * @throws what Redis or Postgres throws; the sweeper repeats it.
 */
export async function publishRooms(deps: Publishing, roomIds: readonly string[]): Promise<void> {
  let due = [...new Set(roomIds)];
  for (let round = 0; due.length > 0 && round < ROUNDS_AT_MOST; round++) {
    due = await publishOnce(deps, due);
  }
}

/**
 * Publishes what the caller has just appended. Rows that continue what is published are not read again; the other rooms
 * are published as by `publishRooms`. `rows`: by room, in order.
 * @throws what Redis or Postgres throws; the sweeper repeats it.
 */
export async function publishAppended(deps: Publishing, rows: readonly PublishableRow[]): Promise<void> {
  const rooms = [...groupByRoom(rows).values()];
  const isNext = ([first]: readonly PublishableRow[]) => first?.number === (first?.published_number ?? 0) + 1;
  const outcomes = await Promise.all(rooms.filter(isNext).map((entries) => appendBatch(deps.redis, entries)));
  const others = rooms.filter((entries) => !isNext(entries)).flatMap(([first]) => first?.room_id ?? []);
  await publishRooms(deps, [...(await settle(deps, outcomes)), ...others]);
}

function groupByRoom(rows: readonly PublishableRow[]): Map<string, PublishableRow[]> {
  const byRoom = new Map<string, PublishableRow[]>();
  for (const row of rows) {
    const list = byRoom.get(row.room_id);
    if (list) list.push(row);
    else byRoom.set(row.room_id, [row]);
  }
  return byRoom;
}

/** Publishes at most one batch of each room; returns the rooms that have more. */
async function publishOnce(deps: Publishing, roomIds: readonly string[]): Promise<string[]> {
  const rows = await readUnpublished(deps.db, roomIds, BATCH_ENTRIES);
  const outcomes = await Promise.all(
    [...groupByRoom(rows).values()].map((entries) => appendBatch(deps.redis, entries)),
  );
  return settle(deps, outcomes);
}

async function appendBatch(redis: Redis, entries: readonly PublishableRow[]): Promise<Outcome> {
  const [state] = entries;
  const last = entries.at(-1);
  if (!state || !last) throw new Error("a batch of no entries");
  return { state, streamEnd: await appendToStream(redis, state, entries), reached: last.number };
}

/** `streamEnd`: the stream's last number. `reached`: the last number of the batch. */
type Outcome = { state: RoomState; streamEnd: number; reached: number };

/** Saves how far the rooms are published; returns those that have more. */
async function settle({ db }: Publishing, outcomes: readonly Outcome[]): Promise<string[]> {
  const done = outcomes.filter(
    ({ state, streamEnd, reached }) => streamEnd >= reached && reached > state.published_number,
  );
  if (done.length > 0)
    await advancePublished(
      db,
      done.map(({ state, reached }) => ({ roomId: state.room_id, epoch: state.epoch, number: reached })),
    );
  const again: string[] = [];
  for (const { state, streamEnd, reached } of outcomes) {
    const isAhead =
      streamEnd > state.last_number &&
      (await replaceEpoch(db, state, { streamEnd, republished: BATCH_ENTRIES }));
    if (isAhead) again.push(state.room_id);
    else if (streamEnd < reached) {
      // Redis came back older than Postgres remembers: publish again from where the stream ends.
      await rewindPublished(db, state, streamEnd);
      again.push(state.room_id);
    } else if (reached < state.last_number) again.push(state.room_id);
  }
  return again;
}

/**
 * Adds what continues the stream and publishes it on the live channel, in one step. An empty stream begins with any
 * number. Returns the stream's last number, 0 for an empty one.
 */
const APPEND_SCRIPT = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = 0
if #last > 0 then top = tonumber(string.match(last[1][1], '^(%d+)')) end
for i = 4, #ARGV, 2 do
  local number = tonumber(ARGV[i])
  if top > 0 and number > top + 1 then return top end
  if number > top then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i] .. '-0', 'm', ARGV[i + 1])
    redis.call('PUBLISH', ARGV[1], ARGV[i + 1])
    top = number
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return top`;

async function appendToStream(
  redis: Redis,
  state: RoomState,
  entries: readonly PublishedRow[],
): Promise<number> {
  const messages = entries.flatMap((row) => [
    String(row.number),
    JSON.stringify(formatLive(row, state.epoch)),
  ]);
  const answer = await redis.eval(
    APPEND_SCRIPT,
    1,
    roomStreamKey(state.room_id, state.epoch),
    roomLiveChannel(state.room_id),
    WINDOW_ENTRIES,
    STREAM_TTL_S,
    ...messages,
  );
  return Number(answer);
}

function formatLive(row: PublishedRow, epoch: string): RoomLiveMessage {
  return {
    number: row.number,
    epoch,
    leaver: row.type === "member.left" ? row.sender_id : null,
    requestId: row.request_id ?? null,
    data: JSON.stringify(presentEntry(row)),
  };
}

/**
 * Fills a stream with the newest entries of its timeline and publishes none of them: for a stream that Redis lost, or
 * whose window begins too late for a client that wants to recover.
 */
export async function rebuildStream({ db, redis }: Publishing, roomId: string): Promise<void> {
  const state = await readRoomState(db, roomId);
  if (!state) return;
  const rows = await readNewestPublished(db, state, BATCH_ENTRIES);
  if (rows.length === 0) return;
  await redis.eval(
    REBUILD_SCRIPT,
    1,
    roomStreamKey(roomId, state.epoch),
    STREAM_TTL_S,
    ...rows.flatMap((row) => [String(row.number), JSON.stringify(formatLive(row, state.epoch))]),
  );
}

/** Replaces the window by the given entries and keeps what the stream holds after them. */
const REBUILD_SCRIPT = `
local kept = redis.call('XRANGE', KEYS[1], '(' .. ARGV[#ARGV - 1] .. '-0', '+')
redis.call('DEL', KEYS[1])
local top = 0
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'm', ARGV[i + 1])
  top = tonumber(ARGV[i])
end
for _, entry in ipairs(kept) do
  local number = tonumber(string.match(entry[1], '^(%d+)'))
  if number == top + 1 then
    redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
    top = number
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return top`;
