import { z } from "zod";
import { readEvents, type MatrixEvent } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { roomPath } from "../rooms/room-path.ts";
import { PAGE_FILTER } from "./filters.ts";

const PAGE_LIMIT = 100;

const messagesResponse = z.object({
  chunk: z.array(z.unknown()).transform(readEvents),
  end: z.string().optional(),
});

/**
 * A page of a room's events between two positions, oldest first; `from` null: from the room's beginning; `to` null: to its end. `end`: where
 * the next page begins, null after the last.
 */
export async function fetchPage(
  request: Requester,
  page: { matrixRoomId: string; from: string | null; to: string | null },
): Promise<{ events: MatrixEvent[]; end: string | null }> {
  const response = messagesResponse.parse(
    await request({
      method: "GET",
      path: roomPath(page.matrixRoomId, "messages"),
      query: {
        dir: "f",
        from: page.from ?? undefined,
        to: page.to ?? undefined,
        limit: String(PAGE_LIMIT),
        filter: PAGE_FILTER,
      },
    }),
  );
  return { events: response.chunk, end: response.end ?? null };
}
