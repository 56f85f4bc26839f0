import type { EventPeople } from "../../matrix/content/index.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { nameKey, type EventContext } from "./translation.ts";

/** Whom an event may name. */
export function peopleOf(
  roomId: string,
  { sender }: MatrixEvent,
  { people, roomMentioners }: EventContext,
): EventPeople {
  return {
    find: (matrixUserId) => people.get(matrixUserId),
    mayMentionRoom: roomMentioners.has(nameKey(roomId, sender)),
  };
}
