import { z } from "zod";
import { CONTENT_EVENT_TYPES } from "../matrix/content/index.ts";
import { withRedaction } from "../matrix/event.ts";
import type { Requester } from "../matrix/http/client.ts";
import { EventType } from "../matrix/names.ts";
import { getState } from "../matrix/rooms/state.ts";
import type { RoomEvents } from "./sync-plan.ts";
import { nameKey } from "./translate/translation.ts";

/** Unknown users whose names are fetched for one batch; the others are shown without a name. */
const NAMES_AT_MOST = 20;
const NAME_MAX_LENGTH = 256;
/** Short, since the batch waits for the names. */
const NAME_TIMEOUT_MS = 2_000;

/** Types of events that are shown with the sender's name. */
const NAMED_EVENT_TYPES: readonly string[] = [
  ...CONTENT_EVENT_TYPES,
  EventType.Reaction,
  EventType.RoomRedaction,
];

/** Display names of senders whom the tenant does not know, by `nameKey`. Events do not hold them. */
export async function fetchUnknownNames(
  reader: { matrixUserId: string; request: Requester },
  rooms: readonly RoomEvents[],
  userIds: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const unknownUsers = new Map<string, { matrixRoomId: string; matrixUserId: string }>();
  for (const { roomId, matrixRoomId, events } of rooms) {
    for (const { type, sender } of events.flatMap(withRedaction)) {
      const isUnknown =
        NAMED_EVENT_TYPES.includes(type) && !userIds.has(sender) && sender !== reader.matrixUserId;
      if (isUnknown) unknownUsers.set(nameKey(roomId, sender), { matrixRoomId, matrixUserId: sender });
    }
  }
  const found = await Promise.all(
    [...unknownUsers].slice(0, NAMES_AT_MOST).map(async ([key, { matrixRoomId, matrixUserId }]) => {
      const member = { matrixRoomId, type: EventType.RoomMember, key: matrixUserId };
      const request: Requester = (call) => reader.request({ ...call, timeoutMs: NAME_TIMEOUT_MS });
      // Without its name the message is still shown: a failure must not make a gap.
      const content = await getState(request, member).catch(() => null);
      return [key, readName(content)] as const;
    }),
  );
  return new Map(found.flatMap(([key, name]) => (name === null ? [] : [[key, name]])));
}

function readName(content: unknown): string | null {
  const parsed = z.object({ displayname: z.string() }).safeParse(content);
  if (!parsed.success) return null;
  // Made well-formed last: the cut may split a character, and Postgres refuses half of one.
  const safe = parsed.data.displayname.replaceAll("\0", "").slice(0, NAME_MAX_LENGTH).toWellFormed();
  return safe === "" ? null : safe;
}
