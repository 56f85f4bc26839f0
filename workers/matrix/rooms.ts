import { createHash } from "node:crypto";
import { z } from "zod";
import type { MatrixRequest } from "./content/define.ts";
import type { Requester } from "./http/client.ts";
import { MatrixFailure, unlessConflict, unlessForbidden, unlessMissing } from "./http/failure.ts";
import { MARKER } from "./marker.ts";
import { buildPowerLevels } from "./power-levels.ts";

/** Pinned: what every client reads; the observer is named in the power levels, as this version wants. */
const ROOM_VERSION = "11";

export type RoomIdentity = { tenantId: string; kind: string; slug: string; generation: number };

export type RoomDescription = { name: string; topic: string | null; avatar: string | null };

const roomAnswer = z.object({ room_id: z.string() });
const eventAnswer = z.object({ event_id: z.string() });

/** The part of a room's alias between `#` and `:`. The same room always has the same; nobody reads meaning from it. */
export function aliasLocalpart({ tenantId, kind, slug, generation }: RoomIdentity): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([tenantId, kind, slug, generation]))
    .digest("hex");
  return `omc_${digest.slice(0, 40)}`;
}

/**
 * Makes a room exist and answers its Matrix id. Safe to repeat and to race: creating has no transaction id, so the
 * alias decides; who comes second finds the first one's room.
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
  const answer = await request({
    method: "POST",
    path: "/createRoom",
    timeoutMs: 60_000,
    body: {
      room_version: ROOM_VERSION,
      room_alias_name: aliasLocalpart(identity),
      preset: "private_chat",
      visibility: "private",
      name: description.name,
      ...(description.topic === null ? {} : { topic: description.topic }),
      creation_content: { "m.federate": false },
      power_level_content_override: buildPowerLevels(observerMatrixId, []),
      initial_state: [
        { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } },
        { type: "m.room.guest_access", state_key: "", content: { guest_access: "forbidden" } },
      ],
    },
  });
  return roomAnswer.parse(answer).room_id;
}

async function resolveAlias(request: Requester, alias: string): Promise<string> {
  const answer = await request({ method: "GET", path: `/directory/room/${encodeURIComponent(alias)}` });
  return roomAnswer.parse(answer).room_id;
}

/** Frees a room's alias; nothing when it is free. */
export async function removeAlias(request: Requester, alias: string): Promise<void> {
  await unlessMissing(request({ method: "DELETE", path: `/directory/room/${encodeURIComponent(alias)}` }));
}

function roomPath(matrixRoomId: string, rest: string): string {
  return `/rooms/${encodeURIComponent(matrixRoomId)}/${rest}`;
}

/**
 * Sends our message `id` as an event, with its marker. The id is the transaction id too: a repeated call makes no second
 * event. Returns the event's id.
 */
export async function sendEvent(
  request: Requester,
  message: { matrixRoomId: string; id: string; event: MatrixRequest },
): Promise<string> {
  const { type, content } = message.event;
  const answer = await request({
    method: "PUT",
    path: roomPath(message.matrixRoomId, `send/${encodeURIComponent(type)}/${message.id}`),
    body: { ...content, [MARKER]: message.id },
  });
  return eventAnswer.parse(answer).event_id;
}

const storedEvent = z.object({
  unsigned: z.looseObject({ redacted_because: z.unknown().optional() }).optional(),
});

/** What the homeserver has of an event in a room that the asker is in. */
export async function lookUpEvent(
  request: Requester,
  target: { matrixRoomId: string; eventId: string },
): Promise<"there" | "redacted" | "missing"> {
  const path = roomPath(target.matrixRoomId, `event/${encodeURIComponent(target.eventId)}`);
  const event = await unlessMissing(request({ method: "GET", path }));
  if (event === null) return "missing";
  return storedEvent.parse(event).unsigned?.redacted_because === undefined ? "there" : "redacted";
}

export async function redact(
  request: Requester,
  target: { matrixRoomId: string; eventId: string; transactionId: string },
): Promise<void> {
  const path = `redact/${encodeURIComponent(target.eventId)}/${target.transactionId}`;
  await request({ method: "PUT", path: roomPath(target.matrixRoomId, path), body: {} });
}

export async function putState(
  request: Requester,
  state: { matrixRoomId: string; type: string; content: Record<string, unknown> },
): Promise<void> {
  await request({
    method: "PUT",
    path: roomPath(state.matrixRoomId, `state/${encodeURIComponent(state.type)}`),
    body: state.content,
  });
}

/** The content of a state event, null when there is none. */
export async function getState(
  request: Requester,
  state: { matrixRoomId: string; type: string; key?: string },
): Promise<unknown> {
  const key = state.key === undefined ? "" : `/${encodeURIComponent(state.key)}`;
  return unlessMissing(
    request({
      method: "GET",
      path: roomPath(state.matrixRoomId, `state/${encodeURIComponent(state.type)}${key}`),
    }),
  );
}

/** Invites a person, which is refused for one who is in, and joins as that person, who stays when in already. */
export async function joinMember(
  observer: Requester,
  member: Requester,
  target: { matrixRoomId: string; matrixUserId: string },
): Promise<void> {
  await unlessForbidden(
    observer({
      method: "POST",
      path: roomPath(target.matrixRoomId, "invite"),
      body: { user_id: target.matrixUserId },
    }),
  );
  await member({ method: "POST", path: roomPath(target.matrixRoomId, "join"), body: {} });
}

/** Takes a person out; nothing for one who is not in, which is refused. */
export async function removeMember(
  observer: Requester,
  target: { matrixRoomId: string; matrixUserId: string },
): Promise<void> {
  await unlessForbidden(
    unlessMissing(
      observer({
        method: "POST",
        path: roomPath(target.matrixRoomId, "kick"),
        body: { user_id: target.matrixUserId },
      }),
    ),
  );
}

/** Leaves and forgets a room; nothing when it was left. */
export async function leaveRoom(request: Requester, matrixRoomId: string): Promise<void> {
  await unlessForbidden(
    unlessMissing(request({ method: "POST", path: roomPath(matrixRoomId, "leave"), body: {} })),
  );
}

const joinedAnswer = z.object({ joined: z.record(z.string(), z.unknown()) });

/** Matrix ids of everybody who is in a room. */
export async function listJoined(request: Requester, matrixRoomId: string): Promise<string[]> {
  const answer = await request({ method: "GET", path: roomPath(matrixRoomId, "joined_members") });
  return Object.keys(joinedAnswer.parse(answer).joined);
}

const joinedRoomsAnswer = z.object({ joined_rooms: z.array(z.string()) });

/** Matrix ids of the rooms that the asker is in. */
export async function listJoinedRooms(request: Requester): Promise<string[]> {
  return joinedRoomsAnswer.parse(await request({ method: "GET", path: "/joined_rooms" })).joined_rooms;
}

const membersAnswer = z.object({
  chunk: z.array(z.object({ state_key: z.string(), content: z.looseObject({ membership: z.string() }) })),
});

/** Matrix ids of everybody who is in a room, or asked into it. */
export async function listPresent(request: Requester, matrixRoomId: string): Promise<string[]> {
  const path = roomPath(matrixRoomId, "members");
  const { chunk } = membersAnswer.parse(
    await request({ method: "GET", path, query: { not_membership: "leave" } }),
  );
  return chunk.flatMap(({ state_key, content: { membership } }) =>
    membership === "join" || membership === "invite" ? [state_key] : [],
  );
}
