import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { unlessForbidden, unlessMissing } from "../http/failure.ts";

const roomResponse = z.object({ room_id: z.string() });

/** The Matrix room of an alias; null when the alias does not exist. */
export async function resolveAlias(request: Requester, alias: string): Promise<string | null> {
  const response = await unlessMissing(request({ method: "GET", path: aliasPath(alias) }));
  return response === null ? null : roomResponse.parse(response).room_id;
}

/** Removes an alias. Does nothing when the alias does not exist. */
export async function removeAlias(request: Requester, alias: string): Promise<void> {
  await unlessMissing(request({ method: "DELETE", path: aliasPath(alias) }));
}

/** Removes an alias that names another room. Returns false where the homeserver does not let us. */
export async function freeAlias(request: Requester, alias: string): Promise<boolean> {
  const removed = removeAlias(request, alias).then(() => true);
  return (await unlessForbidden(removed)) ?? false;
}

/** Makes an alias name a room. Returns false where the homeserver does not let us. */
export async function pointAlias(request: Requester, alias: string, matrixRoomId: string): Promise<boolean> {
  const present = await resolveAlias(request, alias);
  if (present === matrixRoomId) return true;
  if (present !== null && !(await freeAlias(request, alias))) return false;
  const put = request({ method: "PUT", path: aliasPath(alias), body: { room_id: matrixRoomId } });
  return (await unlessForbidden(put.then(() => true))) ?? false;
}

function aliasPath(alias: string): string {
  return `/directory/room/${encodeURIComponent(alias)}`;
}
