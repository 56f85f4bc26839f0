import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { EventType } from "../names.ts";
import { getStateEvent } from "./state.ts";

/** How a Matrix room was created. It never changes. */
export type RoomCreation = {
  /**
   * Accounts whose power no power-level map limits or names: those who created a room of version 12 or later. Empty in
   * earlier versions, where the creator stands in the map like everybody else.
   */
  creators: readonly string[];
  /** The Matrix room that this one replaces. */
  predecessor: string | null;
};

/** The versions whose creators have no power of their own. An unknown version is a later one. */
const WITHOUT_CREATOR_POWER = new Set(["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);

/** Whether the creators of a room have power that no map limits. */
export function hasCreatorPower(roomVersion: string): boolean {
  return !WITHOUT_CREATOR_POWER.has(roomVersion);
}

const createEvent = z.object({
  sender: z.string(),
  content: z.object({
    // A room without a version has the first one. A redaction removes it in the versions before 11.
    room_version: z.string().catch("1"),
    additional_creators: z.array(z.string()).catch([]),
    predecessor: z.object({ room_id: z.string() }).nullable().catch(null),
  }),
});

/** Reads a room's creation from its `m.room.create` event. */
export function readCreation(event: unknown): RoomCreation {
  const { sender, content } = createEvent.parse(event);
  return {
    creators: hasCreatorPower(content.room_version)
      ? [...new Set([sender, ...content.additional_creators])]
      : [],
    predecessor: content.predecessor?.room_id ?? null,
  };
}

/** How a room was created. The account that asks must be in it, or have been. */
export async function fetchCreation(request: Requester, matrixRoomId: string): Promise<RoomCreation> {
  return readCreation(await getStateEvent(request, { matrixRoomId, type: EventType.RoomCreate }));
}
