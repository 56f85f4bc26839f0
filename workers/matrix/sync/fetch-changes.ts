import { z } from "zod";
import { readEvents } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { LIVE_FILTER, NO_ROOMS_FILTER } from "./filters.ts";
import { readSigns, type RoomSigns } from "./signs.ts";

const timeline = z.object({
  events: z.array(z.unknown()).default([]).transform(readEvents),
  limited: z.boolean().default(false),
});

const joinedRoom = z.object({
  timeline: timeline.optional(),
  ephemeral: z.object({ events: z.array(z.unknown()).default([]) }).optional(),
});

const syncResponse = z
  .object({
    next_batch: z.string(),
    rooms: z
      .object({
        join: z.record(z.string(), joinedRoom).default({}),
        leave: z.record(z.string(), z.unknown()).default({}),
      })
      .optional(),
  })
  .transform(({ next_batch, rooms }) => ({ next_batch, rooms, signs: signsOf(rooms?.join ?? {}) }));

function signsOf(join: Record<string, z.infer<typeof joinedRoom>>): RoomSigns[] {
  return Object.entries(join).flatMap(
    ([matrixRoomId, { ephemeral }]) => readSigns(matrixRoomId, ephemeral?.events ?? []) ?? [],
  );
}

/** What happened up to the position `next_batch`. `signs`: what is no part of a room's history; absent for none. */
export type SyncResponse = {
  next_batch: string;
  rooms?:
    | {
        join: Record<string, { timeline?: z.infer<typeof timeline> | undefined }>;
        leave: Record<string, unknown>;
      }
    | undefined;
  signs?: readonly RoomSigns[];
};

/** How long the homeserver may hold back a response when there is nothing to return. */
export const POLL_MS = 30_000;
/** For the whole call, the body included. */
export const SYNC_TIMEOUT_MS = 40_000;

/** The present position. It takes milliseconds for any number of rooms, since it returns nothing of what came before. */
export async function fetchPosition(request: Requester): Promise<string> {
  const response = await request({
    method: "GET",
    path: "/sync",
    query: { filter: NO_ROOMS_FILTER, timeout: "0" },
  });
  return syncResponse.parse(response).next_batch;
}

/**
 * What happened since a position, by `/sync`. Waits at most `pollMs` for something to happen; a repeated call must use
 * another `pollMs`, since homeservers keep responses for minutes and return them for an equal request.
 */
export async function fetchChanges(
  request: Requester,
  options: { since: string; pollMs: number; signal: AbortSignal },
): Promise<SyncResponse> {
  const response = await request({
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
  return syncResponse.parse(response);
}
