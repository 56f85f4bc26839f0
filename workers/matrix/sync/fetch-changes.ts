import { z } from "zod";
import { readEvents } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { LIVE_FILTER, NO_ROOMS_FILTER } from "./filters.ts";

const timeline = z.object({
  events: z.array(z.unknown()).default([]).transform(readEvents),
  limited: z.boolean().default(false),
});

const syncResponse = z.object({
  next_batch: z.string(),
  rooms: z
    .object({
      join: z.record(z.string(), z.object({ timeline: timeline.optional() })).default({}),
      leave: z.record(z.string(), z.unknown()).default({}),
    })
    .optional(),
});
/** What happened up to the position `next_batch`. */
export type SyncResponse = z.infer<typeof syncResponse>;

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
