import type { Db } from "../../shared/db/connection/open.ts";
import {
  listUnmetMessages,
  listUnseenMessages,
  type SentRow,
  type Unmet,
} from "../../shared/db/messages/missing-messages.ts";
import type { Requester } from "../matrix/http/client.ts";
import type { MatrixEvent } from "../matrix/event.ts";
import { EventType } from "../matrix/names.ts";
import { lookUpEvent } from "../matrix/rooms/events.ts";
import { fetchPage } from "../matrix/sync/fetch-page.ts";

const LISTED_AT_ONCE = 200;

/** Sent messages of a room, in parts, in the order in which they were accepted. */
export type Candidates = AsyncIterable<readonly SentRow[]>;

/** Those that no observer has seen. */
export async function* unseenMessages(db: Db, roomId: string): Candidates {
  for (let afterOrder = 0; ;) {
    const page = await listUnseenMessages(db, roomId, { afterOrder, limit: LISTED_AT_ONCE });
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (!last || page.length < LISTED_AT_ONCE) return;
    afterOrder = last.order_number;
  }
}

/** Those that a rereading has not met, seen ones too. */
export async function* unmetMessages(db: Db, roomId: string, which: Unmet): Candidates {
  for (let after: number | null = 0; after !== null;) {
    const part: Awaited<ReturnType<typeof listUnmetMessages>> = await listUnmetMessages(
      db,
      roomId,
      which,
      after,
    );
    if (part.messages.length > 0) yield part.messages;
    after = part.next;
  }
}

/** `missing`: the homeserver does not have their events. `redacted`: unseen ones whose events have no content any more. */
export type Found = { missing: SentRow[]; redacted: SentRow[] };

/** Looks each candidate up by its event, until more than `limit` are missing. The account that asks must be in the room. */
export async function findMissing(
  request: Requester,
  matrixRoomId: string,
  candidates: Candidates,
  { limit, isMet = () => false }: { limit: number; isMet?: (messageId: string) => boolean },
): Promise<Found> {
  const found: Found = { missing: [], redacted: [] };
  for await (const part of candidates) {
    for (const message of part) {
      if (isMet(message.id)) continue;
      const state = await lookUpEvent(request, { matrixRoomId, eventId: message.event_id });
      if (state === "missing") found.missing.push(message);
      if (state === "redacted" && message.open) found.redacted.push(message);
      if (found.missing.length > limit) return found;
    }
  }
  return found;
}

/**
 * When a Matrix room was created, as its first events say; null when they are not the room's first ones any more: its old
 * events were purged on purpose.
 */
export async function findCreation(
  request: Requester,
  matrixRoomId: string,
  to: string | null,
): Promise<Date | null> {
  const { events } = await fetchPage(request, { matrixRoomId, from: null, to });
  return readCreation(events);
}

function readCreation(events: readonly MatrixEvent[]): Date | null {
  const created = events.find(({ type }) => type === EventType.RoomCreate);
  return created === undefined ? null : new Date(created.origin_server_ts);
}
