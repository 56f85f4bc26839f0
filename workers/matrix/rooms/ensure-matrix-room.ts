import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { MatrixFailure, unlessConflict } from "../http/failure.ts";
import { EventType, GuestAccess, HistoryVisibility, Preset, Visibility } from "../names.ts";
import { buildPowerLevels } from "../power-levels.ts";
import { resolveAlias } from "./alias.ts";
import { hasCreatorPower } from "./creation.ts";

export type RoomDescription = { name: string; topic: string | null; avatar: string | null };

export type NewRoom = {
  version: string;
  /** The part of its alias between `#` and `:`, and the whole alias. Null: a room without one. */
  alias: { localpart: string; whole: string } | null;
  observerMatrixId: string;
  description: RoomDescription;
  /** What a member needs to write: see `writingLevel`. */
  eventsDefault: number;
  /** The Matrix room that it replaces. */
  predecessor: string | null;
};

const roomResponse = z.object({ room_id: z.string() });

/**
 * Creates a room unless it exists, and returns its Matrix id. It may be repeated, and may run twice at once: creating has
 * no transaction id, so the alias decides, and the second caller finds the first one's room. A room that was found may be
 * another one, of any version.
 */
export async function ensureMatrixRoom(
  request: Requester,
  room: NewRoom,
): Promise<{ matrixRoomId: string; isNew: boolean }> {
  const created = await unlessConflict(createRoom(request, room));
  if (created !== null) return { matrixRoomId: created, isNew: true };
  const found = room.alias === null ? null : await resolveAlias(request, room.alias.whole);
  if (found !== null) return { matrixRoomId: found, isNew: false };
  throw new MatrixFailure("transient", { errcode: "alias taken and not found", httpStatus: null });
}

async function createRoom(request: Requester, room: NewRoom): Promise<string> {
  const { version, alias, description, observerMatrixId: observer, predecessor } = room;
  const response = await request({
    method: "POST",
    path: "/createRoom",
    timeoutMs: 60_000,
    body: {
      room_version: version,
      ...(alias === null ? {} : { room_alias_name: alias.localpart }),
      preset: Preset.PrivateChat,
      visibility: Visibility.Private,
      name: description.name,
      ...(description.topic === null ? {} : { topic: description.topic }),
      creation_content: {
        "m.federate": false,
        ...(predecessor === null ? {} : { predecessor: { room_id: predecessor } }),
      },
      power_level_content_override: buildPowerLevels(
        { observer, creators: hasCreatorPower(version) ? [observer] : [] },
        [],
        room.eventsDefault,
      ),
      initial_state: [
        {
          type: EventType.RoomHistoryVisibility,
          state_key: "",
          content: { history_visibility: HistoryVisibility.Shared },
        },
        { type: EventType.RoomGuestAccess, state_key: "", content: { guest_access: GuestAccess.Forbidden } },
        ...(description.avatar === null
          ? []
          : [{ type: EventType.RoomAvatar, state_key: "", content: { url: description.avatar } }]),
      ],
    },
  });
  return roomResponse.parse(response).room_id;
}
