import { z } from "zod";
import type { Requester } from "../http/client.ts";
import { unlessForbidden, unlessMissing } from "../http/failure.ts";
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

/** Kicks a person. Does nothing when the person is not in the room: Matrix refuses that. */
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
  chunk: z.array(z.object({ state_key: z.string(), content: z.looseObject({ membership: z.string() }) })),
});

/** Matrix ids of everyone who is in a room or invited to it. */
export async function listPresent(request: Requester, matrixRoomId: string): Promise<string[]> {
  const path = roomPath(matrixRoomId, "members");
  const { chunk } = membersResponse.parse(
    await request({ method: "GET", path, query: { not_membership: Membership.Leave } }),
  );
  return chunk.flatMap(({ state_key, content: { membership } }) =>
    membership === Membership.Join || membership === Membership.Invite ? [state_key] : [],
  );
}
