import { z } from "zod";
import { matrixEvent, type MatrixEvent } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { EventType } from "../names.ts";
import { POLL_MS, SYNC_TIMEOUT_MS, type SyncResponse } from "./fetch-changes.ts";
import { EVENT_TYPES } from "./filters.ts";
import { readSigns, SIGN_TYPES, type RoomSigns } from "./signs.ts";

/** Events of all rooms in one response. */
const STREAM_LIMIT = 100;

const streamEvent = matrixEvent.extend({ room_id: z.string() });
/** Typing and receipts: they are no events of a timeline, and have no ids. */
const streamSign = z.looseObject({ room_id: z.string(), type: z.enum(SIGN_TYPES) });

const streamResponse = z.object({ chunk: z.array(z.unknown()), end: z.string() });

/**
 * What happened since a position, by the homeserver's event stream (`/events`). The same as `fetchChanges` for the rooms
 * that `reader`, a Matrix id, was in when the call began; it costs the homeserver one query instead of four. It works
 * only where one process of the homeserver writes events: a position of this stream does not cover other writers.
 * Returns null where `/sync` must be asked: the reader joined or left a room, or one response may not hold everything.
 */
export async function fetchStream(
  request: Requester,
  options: { since: string; reader: string; signal: AbortSignal },
): Promise<SyncResponse | null> {
  const { chunk, end } = streamResponse.parse(
    await request({
      method: "GET",
      path: "/events",
      query: { from: options.since, limit: String(STREAM_LIMIT), timeout: String(POLL_MS) },
      timeoutMs: SYNC_TIMEOUT_MS,
      signal: options.signal,
    }),
  );
  const isComplete = chunk.length < STREAM_LIMIT;
  const events = chunk.flatMap((event) => streamEvent.safeParse(event).data ?? []);
  const hasReaderMoved = events.some(
    ({ type, state_key: member }) => type === EventType.RoomMember && member === options.reader,
  );
  if (!isComplete || hasReaderMoved) return null;
  const join: Record<string, { timeline: { events: MatrixEvent[]; limited: boolean } }> = {};
  for (const event of events) {
    if (!EVENT_TYPES.includes(event.type)) continue;
    const room = (join[event.room_id] ??= { timeline: { events: [], limited: false } });
    room.timeline.events.push(event);
  }
  return { next_batch: end, rooms: { join, leave: {} }, signs: signsOf(chunk) };
}

function signsOf(chunk: readonly unknown[]): RoomSigns[] {
  const byRoom = new Map<string, unknown[]>();
  for (const event of chunk) {
    const sign = streamSign.safeParse(event).data;
    if (sign !== undefined) byRoom.set(sign.room_id, [...(byRoom.get(sign.room_id) ?? []), sign]);
  }
  return [...byRoom].flatMap(([matrixRoomId, signs]) => readSigns(matrixRoomId, signs) ?? []);
}
