import type { EntryType } from "../contract/frames.ts";
import { MESSAGE_ENTRY_TYPES } from "../contract/content/index.ts";
import { roomLiveChannel, roomStreamKey } from "../platform/redis-keys.ts";
import { createScript, runScripts, type ScriptCall } from "../platform/redis-script.ts";
import type { Redis } from "../platform/redis.ts";
import type { Db } from "../db/connection/open.ts";
import type { RoomState } from "../db/timeline/append.ts";
import type { EntryRow } from "../db/timeline/entries.ts";
import {
  findUnpublishedRooms,
  readEntries,
  readRoomStates,
  removeMarks,
  replaceEpoch,
} from "../db/timeline/publish-state.ts";
import { findStaleStreamsOf } from "../db/timeline/stale-streams.ts";
import type { DeletedMessage } from "../db/memberships/signs/positions.ts";
import type { RoomLiveMessage } from "./live-messages.ts";
import { publishMentions } from "./signs/publish-mentions.ts";
import { publishUnreadBelow } from "./signs/publish-unread.ts";
import { presentEntry } from "./read.ts";
import { TYPING_FUNCTIONS } from "./signs/typing-script.ts";
import { typingKeys } from "./signs/typing.ts";

export type Publishing = { db: Db; redis: Redis };
/** An entry with the state of its room. */
export type PublishableRow = EntryRow & RoomState;

/**
 * Entries that a stream keeps: the newest ones, and beyond them those that are younger than `YOUNG_MS`, up to a limit. A
 * client that is further behind is served from Postgres.
 */
const WINDOW_ENTRIES = 300;
const WINDOW_ENTRIES_AT_MOST = 5_000;
const YOUNG_MS = 120_000;
/**
 * How long Redis keeps a stream after its last entry, for clients that are away for a while. No append trims a room that has
 * become quiet, so one that is longer than its window is kept for a short time only.
 */
const STREAM_TTL_S = 86_400;
const LONG_STREAM_TTL_S = 600;
/** Entries that are trimmed at a time. A stream is as much longer than its window, at most. */
const TRIMMED_ENTRIES = 64;
/** Entries that one round publishes of one room. */
const BATCH_ENTRIES = 300;
/** Entries with which a stream that is gone begins. Who lacks the ones before them reads them from Postgres. */
const FIRST_ENTRIES = 20;
/** Which of them are new: that a message mentions somebody is published once. */
const NEW_MS = 60_000;
/** Entries that one round publishes of all rooms, or a batch more. */
const ROUND_ENTRIES = 5_000;
const ROUNDS_AT_MOST = 100;

/** Former streams that one round removes. */
const FORMER_STREAMS = 1_000;

/** The types of entries that may remove what stands in the stream. */
const SCRUBBING: readonly EntryType[] = ["message.deleted", "message.edited"];

/** Where the stream of a room ends. `isWhole`: where its timeline ended. */
type Published = { roomId: string; epoch: string; number: number; isWhole: boolean };

/**
 * Publishes what the caller has just appended, without reading it again. Where other entries are missing before it, the room
 * is published as by `publishRooms`. `rows`: by room, in order.
 * @throws what Redis or Postgres throws; the sweeper repeats it.
 */
export async function publishAppended(deps: Publishing, rows: readonly PublishableRow[]): Promise<void> {
  const published = await appendToStreams(deps, [...groupByRoom(rows).values()]);
  await publishRooms(
    deps,
    published.filter(({ isWhole }) => !isWhole).map(({ roomId }) => roomId),
  );
}

/**
 * Publishes what the timelines of some rooms hold and their streams do not: each entry is added to the stream and
 * published on the live channel in one step. Several processes may run it at once, and repeat it: an entry is added only
 * where it continues its stream, and published only when it is added. Where a stream is gone, its newest entries are
 * published again: subscribers know them by their numbers. Returns where the streams end.
 * @throws what Redis or Postgres throws; the sweeper repeats it.
 */
export async function publishRooms(deps: Publishing, roomIds: readonly string[]): Promise<Published[]> {
  let due = [...new Set(roomIds)];
  const done: Published[] = [];
  for (let round = 0; due.length > 0 && round < ROUNDS_AT_MOST; round++) {
    const published = await publishOnce(deps, due);
    done.push(...published.filter(({ isWhole }) => isWhole));
    due = published.filter(({ isWhole }) => !isWhole).map(({ roomId }) => roomId);
  }
  return done;
}

/** Publishes the rooms that are marked as unpublished, `limit` at most. */
export async function publishMarkedRooms(deps: Publishing, limit: number): Promise<void> {
  const published = await publishRooms(deps, await findUnpublishedRooms(deps.db, limit));
  await removeMarks(deps.db, published);
}

/** Publishes at most one batch of each room. */
async function publishOnce(deps: Publishing, roomIds: readonly string[]): Promise<Published[]> {
  const states = await readRoomStates(deps.db, roomIds);
  const ends = await readStreamEnds(deps.redis, states);
  const parts = states.map((state) => planPart(state, ends.get(state.room_id) ?? 0));
  const behind = takeParts(parts);
  const entries = groupByRoom(behind.length === 0 ? [] : await readEntries(deps.db, behind));
  const batches = states.flatMap((state) => {
    const batch = entries.get(state.room_id);
    return batch ? [batch.map((row) => ({ ...row, ...state }))] : [];
  });
  const others = states.filter(({ room_id: roomId }) => !entries.has(roomId));
  const waiting = new Set(
    parts.filter((part) => part.limit > 0 && !behind.includes(part)).map(({ roomId }) => roomId),
  );
  const unchanged = others.map(async (state): Promise<Published> => {
    const { room_id: roomId, epoch, last_number: number } = state;
    const isAhead = (ends.get(roomId) ?? 0) > number;
    // The stream belongs to a database that is gone, unless the timeline has grown since it was read.
    if (isAhead) await replaceEpoch(deps.db, state, ends.get(roomId) ?? 0);
    return { roomId, epoch, number, isWhole: !isAhead && !waiting.has(roomId) };
  });
  return [...(await appendToStreams(deps, batches)), ...(await Promise.all(unchanged))];
}

function groupByRoom<T extends { room_id: string }>(rows: readonly T[]): Map<string, T[]> {
  const byRoom = new Map<string, T[]>();
  for (const row of rows) {
    const list = byRoom.get(row.room_id);
    if (list) list.push(row);
    else byRoom.set(row.room_id, [row]);
  }
  return byRoom;
}

/** The first parts that lack entries, as many as one round reads. */
function takeParts(parts: readonly Part[]): Part[] {
  let left = ROUND_ENTRIES;
  return parts.filter(({ limit }) => {
    const isTaken = limit > 0 && left > 0;
    if (isTaken) left -= limit;
    return isTaken;
  });
}

type Part = ReturnType<typeof planPart>;

function planPart({ room_id: roomId, epoch, last_number: last }: RoomState, end: number) {
  const after = end === 0 ? Math.max(0, last - FIRST_ENTRIES) : end;
  return { roomId, epoch, after, limit: Math.min(BATCH_ENTRIES, last - after) };
}

/** The last numbers of streams, by room; 0 for one that is gone. */
export async function readStreamEnds(
  redis: Redis,
  states: readonly Pick<RoomState, "room_id" | "epoch" | "scrubs">[],
): Promise<Map<string, number>> {
  const pipeline = redis.pipeline();
  for (const state of states)
    pipeline.xrevrange(roomStreamKey(state.room_id, state.epoch, state.scrubs), "+", "-", "COUNT", 1);
  const answers = (await pipeline.exec()) ?? [];
  return new Map(
    states.map((state, index) => {
      const [error, entries] = answers[index] ?? [null, []];
      if (error) throw error;
      const [last] = entries as [id: string, fields: string[]][];
      return [state.room_id, last ? Number.parseInt(last[0], 10) : 0];
    }),
  );
}

// Adds what continues the stream and publishes it on the live channel, in one step. An empty stream begins with any number.
// Returns the stream's last number. ARGV channel; ttl, and that of a long stream; entries to keep, entries at most, entries
// that are trimmed at a time; young in ms; refs of those who wrote a message, which ends that they type; number and message of
// each.
const APPEND_SCRIPT = createScript(`${TYPING_FUNCTIONS}
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = 0
if #last > 0 then top = tonumber(string.match(last[1][1], '^(%d+)')) end
local before = top
for i = 9, #ARGV, 2 do
  local number = tonumber(ARGV[i])
  if top > 0 and number > top + 1 then break end
  if number > top then
    redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'm', ARGV[i + 1], 't', now)
    redis.call('PUBLISH', ARGV[1], ARGV[i + 1])
    top = number
  end
end
if top > before then endTyping(keysFrom(2), ARGV[8]) end
local length = redis.call('XLEN', KEYS[1])
local keep, most, part, young = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if length > most then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', most)
  length = most
end
while length >= keep + part do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  local id = (tonumber(string.match(first[1][1], '^(%d+)')) + part - 1) .. '-0'
  local entry = redis.call('XRANGE', KEYS[1], id, id)
  if #entry > 0 and entry[1][2][4] and now - tonumber(entry[1][2][4]) < young then break end
  redis.call('XTRIM', KEYS[1], 'MAXLEN', length - part)
  length = length - part
end
redis.call('EXPIRE', KEYS[1], length < keep + part and ARGV[2] or ARGV[3])
return {top, before}`);

/** Adds batches of entries to the streams of their rooms, one batch a room, in one round trip. */
async function appendToStreams(
  { db, redis }: Publishing,
  batches: readonly (readonly PublishableRow[])[],
): Promise<Published[]> {
  await removeFormer({ db, redis }, batches);
  const ends = (await runScripts(redis, batches.map(toScriptCall))) as [top: number, before: number][];
  const newEntries = (entries: readonly PublishableRow[], index: number) => {
    const [top = 0, before = 0] = ends[index] ?? [];
    // A stream that is gone begins with entries that were published before.
    const sinceMs = before > 0 ? 0 : Date.now() - NEW_MS;
    return entries.filter(({ number, at }) => number > before && number <= top && at.getTime() > sinceMs);
  };
  // Best effort: whoever misses it reads the counts with the room.
  await publishToPeople({ db, redis }, batches.flatMap(newEntries)).catch(() => undefined);
  return batches.flatMap((entries, index) => {
    const last = entries.at(-1);
    if (!last) return [];
    const [number = 0] = ends[index] ?? [];
    const isWhole = number >= last.number && number >= last.last_number;
    return [{ roomId: last.room_id, epoch: last.epoch, number, isWhole }];
  });
}

/** What entries change for single people. */
async function publishToPeople(deps: Publishing, entries: readonly EntryRow[]): Promise<void> {
  await publishMentions(deps, entries);
  await publishUnreadBelow(deps, deletedIn(entries));
}

/** Removes the streams that hold what batches remove, or what was removed before. `removeStaleStreams` removes those that this misses. */
async function removeFormer(
  { db, redis }: Publishing,
  batches: readonly (readonly PublishableRow[])[],
): Promise<void> {
  const roomIds = batches.flatMap((entries) => {
    const last = entries.at(-1);
    return last && last.scrubs > 0 && entries.some(({ type }) => SCRUBBING.includes(type))
      ? [last.room_id]
      : [];
  });
  if (roomIds.length === 0) return;
  const former = await findStaleStreamsOf(db, roomIds, FORMER_STREAMS);
  const keys = former.map(({ room_id: roomId, epoch, scrubs }) => roomStreamKey(roomId, epoch, scrubs));
  if (keys.length > 0) await redis.del(keys);
}

function toScriptCall(entries: readonly PublishableRow[]): ScriptCall {
  const state = entries.at(-1);
  if (!state) throw new Error("a batch of no entries");
  const { room_id: roomId, epoch, scrubs } = state;
  return {
    script: APPEND_SCRIPT,
    keys: [roomStreamKey(roomId, epoch, scrubs), ...typingKeys(roomId)],
    args: [
      ...[roomLiveChannel(roomId), STREAM_TTL_S, LONG_STREAM_TTL_S],
      ...[WINDOW_ENTRIES, WINDOW_ENTRIES_AT_MOST, TRIMMED_ENTRIES, YOUNG_MS],
      writersOf(entries).join(" "),
      ...entries.flatMap((row) => [row.number, JSON.stringify(formatLive(row, state))]),
    ],
  };
}

/** The messages that entries delete. */
function deletedIn(entries: readonly EntryRow[]): DeletedMessage[] {
  const deletions = entries.filter(({ type }) => type === "message.deleted");
  return deletions.flatMap(({ room_id: roomId, relates_to: messageId }) =>
    messageId === null ? [] : [{ roomId, messageId }],
  );
}

/** Refs of those who wrote one of these messages. */
function writersOf(entries: readonly EntryRow[]): string[] {
  const messages = entries.filter(({ type }) => MESSAGE_ENTRY_TYPES.includes(type));
  return [...new Set(messages.flatMap((row) => row.sender_ref ?? row.sender_id ?? []))];
}

/** An entry as the stream and the live channel carry it. */
export function formatLive(
  row: EntryRow,
  { epoch, scrubs }: Pick<RoomState, "epoch" | "scrubs">,
): RoomLiveMessage {
  return {
    number: row.number,
    epoch,
    ...(scrubs === 0 ? {} : { scrubs }),
    leaver: row.type === "member.left" ? row.sender_id : null,
    requestId: row.request_id,
    data: JSON.stringify(presentEntry(row)),
  };
}
