import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { MatrixFailure, unlessForbidden, unlessMissing } from "../http/failure.ts";
import { Membership } from "../names.ts";
import { roomPath } from "./room-path.ts";

/** Invites a person and joins as that person. Both may be repeated: Matrix refuses to invite a member again. */
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

/** Kicks a person. Does nothing when the person is not in the room, or is banned: Matrix refuses that. */
export async function removeMember(
  observer: Requester,
  target: { matrixRoomId: string; matrixUserId: string },
): Promise<void> {
  await unlessBanned(
    unlessForbidden(
      unlessMissing(
        observer({
          method: "POST",
          path: roomPath(target.matrixRoomId, "kick"),
          body: { user_id: target.matrixUserId },
        }),
      ),
    ),
  );
}

/** Bans a person, who is out then. May be repeated. */
export async function banMember(
  observer: Requester,
  target: { matrixRoomId: string; matrixUserId: string; reason: string | null },
): Promise<void> {
  const { matrixRoomId, matrixUserId, reason } = target;
  const body = { user_id: matrixUserId, ...(reason === null ? {} : { reason }) };
  await observer({ method: "POST", path: roomPath(matrixRoomId, "ban"), body });
}

/** Ends a ban. Does nothing when the person is not banned: Matrix refuses that. */
export async function unbanMember(
  observer: Requester,
  target: { matrixRoomId: string; matrixUserId: string },
): Promise<void> {
  const { matrixRoomId, matrixUserId } = target;
  const path = roomPath(matrixRoomId, "unban");
  await unlessBanned(observer({ method: "POST", path, body: { user_id: matrixUserId } }));
}

/** Whether a call was refused because of a ban: of a banned person, or to end a ban that there is not. */
export function isRefusedByBan(error: unknown): boolean {
  return error instanceof MatrixFailure && error.errcode === "M_BAD_STATE";
}

/** Null when the call is refused because of a ban. */
async function unlessBanned<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (isRefusedByBan(error)) return null;
    throw error;
  }
}

/** Leaves a room. Does nothing when the account is not in it. */
export async function leaveRoom(request: Requester, matrixRoomId: string): Promise<void> {
  await unlessForbidden(
    unlessMissing(request({ method: "POST", path: roomPath(matrixRoomId, "leave"), body: {} })),
  );
}

const joinedMembersResponse = z.object({ joined: z.record(z.string(), z.unknown()) });

/** Matrix ids of the members of a room. */
export async function listJoined(request: Requester, matrixRoomId: string): Promise<string[]> {
  const response = await request({ method: "GET", path: roomPath(matrixRoomId, "joined_members") });
  return Object.keys(joinedMembersResponse.parse(response).joined);
}

const joinedRoomsResponse = z.object({ joined_rooms: z.array(z.string()) });

/** Matrix ids of the rooms that the account is in. */
export async function listJoinedRooms(request: Requester): Promise<string[]> {
  return joinedRoomsResponse.parse(await request({ method: "GET", path: "/joined_rooms" })).joined_rooms;
}

const membersResponse = z.object({
  chunk: z.array(
    z.object({
      event_id: z.string().optional(),
      state_key: z.string(),
      content: z.looseObject({ membership: z.string() }),
    }),
  ),
});

/** Everyone who is in a room, invited to it or banned from it; `eventId`: of the membership. */
export type PresentMember = { matrixUserId: string; membership: string; eventId: string | null };

/** The memberships of a room on Matrix, except of those who left. */
export async function listMemberships(request: Requester, matrixRoomId: string): Promise<PresentMember[]> {
  const path = roomPath(matrixRoomId, "members");
  const { chunk } = membersResponse.parse(
    await request({ method: "GET", path, query: { not_membership: Membership.Leave } }),
  );
  return chunk.map(({ event_id: eventId = null, state_key: matrixUserId, content: { membership } }) => ({
    matrixUserId,
    membership,
    eventId,
  }));
}

/** Of memberships, the Matrix ids of everyone who is in the room or invited to it. */
export function presentOf(members: readonly PresentMember[]): string[] {
  return members.flatMap(({ matrixUserId, membership }) =>
    membership === Membership.Join || membership === Membership.Invite ? [matrixUserId] : [],
  );
}
