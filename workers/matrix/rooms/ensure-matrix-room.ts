import { createHash } from "node:crypto";
import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { MatrixFailure, unlessConflict, unlessMissing } from "../http/failure.ts";
import { EventType, GuestAccess, HistoryVisibility, Preset, Visibility } from "../names.ts";
import { buildPowerLevels } from "../power-levels.ts";

/** Pinned: every client reads it. In this version the power levels name the observer; in later ones they must not. */
const ROOM_VERSION = "11";

export type RoomIdentity = { tenantId: string; kind: string; slug: string; generation: number };

export type RoomDescription = { name: string; topic: string | null; avatar: string | null };

const roomResponse = z.object({ room_id: z.string() });

/** The part of a room's alias between `#` and `:`. It depends on the room alone, and reveals nothing of it. */
export function aliasLocalpart({ tenantId, kind, slug, generation }: RoomIdentity): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([tenantId, kind, slug, generation]))
    .digest("hex");
  return `omc_${digest.slice(0, 40)}`;
}

/**
 * Creates a room unless it exists, and returns its Matrix id. It may be repeated, and may run twice at once: creating has
 * no transaction id, so the alias decides, and the second caller finds the first one's room.
 */
export async function ensureMatrixRoom(
  request: Requester,
  options: {
    identity: RoomIdentity;
    serverName: string;
    observerMatrixId: string;
    description: RoomDescription;
  },
): Promise<string> {
  const alias = `#${aliasLocalpart(options.identity)}:${options.serverName}`;
  const created = await unlessConflict(createRoom(request, options));
  if (created !== null) return created;
  const found = await unlessMissing(resolveAlias(request, alias));
  if (found !== null) return found;
  throw new MatrixFailure("transient", { errcode: "alias taken and not found", httpStatus: null });
}

async function createRoom(
  request: Requester,
  options: { identity: RoomIdentity; observerMatrixId: string; description: RoomDescription },
): Promise<string> {
  const { description, observerMatrixId, identity } = options;
  const response = await request({
    method: "POST",
    path: "/createRoom",
    timeoutMs: 60_000,
    body: {
      room_version: ROOM_VERSION,
      room_alias_name: aliasLocalpart(identity),
      preset: Preset.PrivateChat,
      visibility: Visibility.Private,
      name: description.name,
      ...(description.topic === null ? {} : { topic: description.topic }),
      creation_content: { "m.federate": false },
      power_level_content_override: buildPowerLevels(observerMatrixId, []),
      initial_state: [
        {
          type: EventType.RoomHistoryVisibility,
          state_key: "",
          content: { history_visibility: HistoryVisibility.Shared },
        },
        { type: EventType.RoomGuestAccess, state_key: "", content: { guest_access: GuestAccess.Forbidden } },
      ],
    },
  });
  return roomResponse.parse(response).room_id;
}

async function resolveAlias(request: Requester, alias: string): Promise<string> {
  const response = await request({ method: "GET", path: `/directory/room/${encodeURIComponent(alias)}` });
  return roomResponse.parse(response).room_id;
}

/** Removes an alias. Does nothing when the alias does not exist. */
export async function removeAlias(request: Requester, alias: string): Promise<void> {
  await unlessMissing(request({ method: "DELETE", path: `/directory/room/${encodeURIComponent(alias)}` }));
}
