import { newFence } from "../platform/ids.ts";
import { roomLiveChannel, roomStreamKey } from "../platform/redis-keys.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import type { Redis } from "../platform/redis.ts";
import { execute, rowsOf, type Db } from "../db/connection/open.ts";
import type { RoomState } from "./append.ts";
import { presentEntry, SELECT_ENTRY, type EntryRow } from "./read.ts";

export type Publishing = { db: Db; redis: Redis };

/** Entries a stream keeps, as many as one connect may recover; a client further behind loads from REST. */
const WINDOW_ENTRIES = 300;
/** A stream that is gone is made again when somebody wants to recover: Redis holds it for who is away for a while. */
const STREAM_TTL_S = 86_400;
/** Entries that one round publishes of one room. */
const BATCH_ENTRIES = 300;
const ROUNDS_AT_MOST = 100;

/**
 * Catches the streams of some rooms up with their timelines and tells the live channels. Anyone may call it, at any
 * time, twice: an entry is added only where it continues its stream, and told only when added.
 * @throws what Redis or Postgres throws; the sweeper repeats it.
 */
export async function publishRooms(deps: Publishing, roomIds: readonly string[]): Promise<void> {
  let due = [...new Set(roomIds)];
  for (let round = 0; due.length > 0 && round < ROUNDS_AT_MOST; round++) {
    due = await publishOnce(deps, due);
  }
}

/** `request_id`: of the request that the message came with; absent where it was not asked for. */
type PublishedRow = EntryRow & { request_id?: string | null };
export type PublishableRow = RoomState & PublishedRow;

/**
 * Publishes what the caller has just appended without reading it again, for whatever continues what was published; the
 * rest like `publishRooms`. `rows`: by room, in order.
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

/** Publishes at most one batch a room; returns the rooms that have more. */
async function publishOnce(deps: Publishing, roomIds: readonly string[]): Promise<string[]> {
  const rows = await rowsOf<PublishableRow>(
    deps.db,
    `select due.*, entry.*, m.request_id
       from (select room_id, epoch, last_number, published_number from room_timeline
              where room_id = any(?) and published_number < last_number) due
       join lateral (${SELECT_ENTRY}
              where e.room_id = due.room_id and e.number > due.published_number and e.number <= due.published_number + ?) entry
         on true
       left join messages m on m.id = entry.entry_id
      order by due.room_id, entry.number`,
    [roomIds, BATCH_ENTRIES],
  );
  const rooms = [...groupByRoom(rows).values()];
  const outcomes = await Promise.all(rooms.map((entries) => appendBatch(deps.redis, entries)));
  return settle(deps, outcomes);
}

async function appendBatch(redis: Redis, entries: readonly PublishableRow[]): Promise<Outcome> {
  const [state] = entries;
  const last = entries.at(-1);
  if (!state || !last) throw new Error("a batch of no entries");
  return { state, top: await appendToStream(redis, state, entries), reached: last.number };
}

type Outcome = { state: RoomState; top: number; reached: number };

/** Notes how far the rooms are published; answers those that have more. */
async function settle(deps: Publishing, outcomes: readonly Outcome[]): Promise<string[]> {
  const done = outcomes.filter(
    ({ state, top, reached }) => top >= reached && reached > state.published_number,
  );
  if (done.length > 0) {
    await execute(
      deps.db,
      `update room_timeline t set published_number = greatest(t.published_number, p.number)
         from unnest(cast(? as uuid[]), cast(? as text[]), cast(? as bigint[])) as p(room_id, epoch, number)
        where t.room_id = p.room_id and t.epoch = p.epoch`,
      [done.map((o) => o.state.room_id), done.map((o) => o.state.epoch), done.map((o) => o.reached)],
    );
  }
  const again: string[] = [];
  for (const { state, top, reached } of outcomes) {
    if (top > state.last_number && (await replaceEpochIfAhead(deps, state, top))) again.push(state.room_id);
    else if (top < reached) {
      // Redis came back older than Postgres remembers: tell it again from where the stream ends.
      await rewindPublished(deps.db, state, top);
      again.push(state.room_id);
    } else if (reached < state.last_number) again.push(state.room_id);
  }
  return again;
}

/** A stream ahead of its timeline belongs to a database that is gone: its offsets must not be believed. */
async function replaceEpochIfAhead({ db }: Publishing, state: RoomState, top: number): Promise<boolean> {
  const changed = await rowsOf<{ room_id: string }>(
    db,
    `update room_timeline set epoch = ?, published_number = greatest(0, last_number - ?)
      where room_id = ? and epoch = ? and last_number < ? returning room_id`,
    [newFence(), BATCH_ENTRIES, state.room_id, state.epoch, top],
  );
  return changed.length > 0;
}

async function rewindPublished(db: Db, state: RoomState, top: number): Promise<void> {
  await db.raw(
    "update room_timeline set published_number = least(published_number, ?) where room_id = ? and epoch = ?",
    [top, state.room_id, state.epoch],
  );
}

/**
 * Adds what continues the stream and tells the live channel of it, in one step; an empty stream starts anywhere.
 * Answers the stream's last number, 0 for an empty one.
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

/** Rooms whose timeline went further than what was published; the oldest first is not needed, all are tried. */
export async function findUnpublishedRooms(db: Db, limit: number): Promise<string[]> {
  const rows = await rowsOf<{ room_id: string }>(
    db,
    "select room_id from room_timeline where published_number < last_number limit ?",
    [limit],
  );
  return rows.map((row) => row.room_id);
}

/**
 * Makes a stream hold the newest entries of its timeline again, telling nobody: for a stream that was lost, or whose
 * window starts too late for a client that wants to recover.
 */
export async function rebuildStream({ db, redis }: Publishing, roomId: string): Promise<void> {
  const states = await rowsOf<RoomState>(
    db,
    "select room_id, epoch, last_number, published_number from room_timeline where room_id = ?",
    [roomId],
  );
  const state = states[0];
  if (!state) return;
  const rows = await rowsOf<EntryRow>(
    db,
    `select * from (${SELECT_ENTRY} where e.room_id = ? and e.number <= ? order by e.number desc limit ?) newest order by number`,
    [roomId, state.published_number, BATCH_ENTRIES],
  );
  if (rows.length === 0) return;
  await redis.eval(
    REBUILD_SCRIPT,
    1,
    roomStreamKey(roomId, state.epoch),
    STREAM_TTL_S,
    ...rows.flatMap((row) => [String(row.number), JSON.stringify(formatLive(row, state.epoch))]),
  );
}

/** Puts older entries before a window, keeping what is newer in the stream than what is given. */
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
