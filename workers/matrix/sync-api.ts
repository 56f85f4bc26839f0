import { z } from "zod";
import { CONTENT_EVENT_TYPES } from "./content/index.ts";
import { matrixEvent, readEvents, type MatrixEvent } from "./event.ts";
import type { Requester } from "./http/client.ts";

const streamEvent = matrixEvent.extend({ room_id: z.string() });

const timeline = z.object({
  // One odd event must not cost the others: each is read for itself.
  events: z.array(z.unknown()).default([]).transform(readEvents),
  limited: z.boolean().default(false),
});

const syncAnswer = z.object({
  next_batch: z.string(),
  rooms: z
    .object({
      join: z.record(z.string(), z.object({ timeline: timeline.optional() })).default({}),
      leave: z.record(z.string(), z.unknown()).default({}),
    })
    .optional(),
});
export type SyncAnswer = z.infer<typeof syncAnswer>;

const streamAnswer = z.object({
  // Typing and receipts too, which are no events of a timeline.
  chunk: z.array(z.unknown()).transform((events) =>
    events.flatMap((event) => {
      const parsed = streamEvent.safeParse(event);
      return parsed.success ? [parsed.data] : [];
    }),
  ),
  end: z.string(),
});

const messagesAnswer = z.object({
  chunk: z.array(z.unknown()).transform(readEvents),
  end: z.string().optional(),
});

/** Event types that we read; everything else stays on the homeserver. */
const EVENT_TYPES: readonly string[] = [
  ...CONTENT_EVENT_TYPES,
  // Tells that an answer reaches back to the room's beginning.
  "m.room.create",
  "m.room.member",
  "m.room.power_levels",
  "m.room.name",
  "m.room.topic",
  "m.room.avatar",
  "m.room.encryption",
  "m.room.encrypted",
  "m.room.tombstone",
];
/** Events of one room in one answer; more of them make a gap. The homeserver's own limit is 100. */
const TIMELINE_LIMIT = 100;
const PAGE_LIMIT = 100;
/** Events of all rooms in one answer of the stream. */
const STREAM_LIMIT = 100;
/** How long the homeserver may hold an answer back. */
export const POLL_MS = 30_000;
/** Beyond it the answer is given up, its body included. */
const SYNC_TIMEOUT_MS = 40_000;

const NOTHING = { types: [] };
const LIVE_FILTER = JSON.stringify({
  presence: NOTHING,
  account_data: NOTHING,
  room: {
    include_leave: false,
    account_data: NOTHING,
    ephemeral: NOTHING,
    state: { lazy_load_members: true, types: [] },
    timeline: { limit: TIMELINE_LIMIT, lazy_load_members: true, types: EVENT_TYPES },
  },
});
const NO_ROOMS_FILTER = JSON.stringify({ presence: NOTHING, account_data: NOTHING, room: { rooms: [] } });
const PAGE_FILTER = JSON.stringify({ types: EVENT_TYPES, lazy_load_members: true });

/** Where reading may begin, in milliseconds whatever the number of rooms: nothing of before is read. */
export async function fetchPosition(request: Requester): Promise<string> {
  const answer = await request({
    method: "GET",
    path: "/sync",
    query: { filter: NO_ROOMS_FILTER, timeout: "0" },
  });
  return syncAnswer.parse(answer).next_batch;
}

/** What happened since a position; waits for something to happen. `pollMs` differs by a little in a repeated call. */
export async function fetchChanges(
  request: Requester,
  options: { since: string; pollMs: number; signal: AbortSignal },
): Promise<SyncAnswer> {
  const answer = await request({
    method: "GET",
    path: "/sync",
    query: {
      filter: LIVE_FILTER,
      since: options.since,
      timeout: String(options.pollMs),
      set_presence: "offline",
    },
    timeoutMs: SYNC_TIMEOUT_MS,
    signal: options.signal,
  });
  return syncAnswer.parse(answer);
}

/**
 * What happened since a position, from the homeserver's stream of events (`/events`): the same as `fetchChanges`, of the
 * rooms that the reader was in when it asked, for one look of the homeserver at its database instead of four. Only where
 * one process of the homeserver writes events and answers: a position of this stream does not tell of others that write.
 * `reader`: who asks, by Matrix id. Null where `/sync` must say it: the reader came into a room or left one, or there may
 * be more than one answer holds.
 */
export async function fetchStream(
  request: Requester,
  options: { since: string; reader: string; signal: AbortSignal },
): Promise<SyncAnswer | null> {
  const answer = streamAnswer.parse(
    await request({
      method: "GET",
      path: "/events",
      query: { from: options.since, limit: String(STREAM_LIMIT), timeout: String(POLL_MS) },
      timeoutMs: SYNC_TIMEOUT_MS,
      signal: options.signal,
    }),
  );
  const isWhole = answer.chunk.length < STREAM_LIMIT;
  const isReaderMoved = answer.chunk.some(
    ({ type, state_key: who }) => type === "m.room.member" && who === options.reader,
  );
  if (!isWhole || isReaderMoved) return null;
  const join: Record<string, { timeline: z.infer<typeof timeline> }> = {};
  for (const event of answer.chunk) {
    if (!EVENT_TYPES.includes(event.type)) continue;
    const room = (join[event.room_id] ??= { timeline: { events: [], limited: false } });
    room.timeline.events.push(event);
  }
  return { next_batch: answer.end, rooms: { join, leave: {} } };
}

/** Events of a room from one position to another, oldest first; `from` null: from the room's beginning. */
export async function fetchPage(
  request: Requester,
  page: { matrixRoomId: string; from: string | null; to: string },
): Promise<{ events: MatrixEvent[]; end: string | null }> {
  const answer = messagesAnswer.parse(
    await request({
      method: "GET",
      path: `/rooms/${encodeURIComponent(page.matrixRoomId)}/messages`,
      query: {
        dir: "f",
        from: page.from ?? undefined,
        to: page.to,
        limit: String(PAGE_LIMIT),
        filter: PAGE_FILTER,
      },
    }),
  );
  return { events: answer.chunk, end: answer.end ?? null };
}

/** A homeserver restored from a backup takes a future position and answers an older one, without an error. */
export function isBackwards(since: string, next: string): boolean {
  const before = positionOrdinal(since);
  const after = positionOrdinal(next);
  return before !== null && after !== null && after < before;
}

/** Synapse's position where several of its processes write events and are not at the same place. */
export function isOfManyWriters(position: string): boolean {
  return position.startsWith("m");
}

/** The homeserver's place in a position; null when it cannot be told. */
function positionOrdinal(position: string): number | null {
  const match = /^s(\d+)/.exec(position);
  return match ? Number(match[1]) : null;
}
