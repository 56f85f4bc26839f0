import { AppError } from "../../../shared/contract/errors.ts";
import { memberResource, myRoomResource } from "../../../shared/contract/resources.ts";
import { findMember, presentMember } from "../../../shared/db/memberships/memberships.ts";
import { findMyRooms, presentMyRooms } from "../../../shared/db/rooms/my-rooms.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { pathRoom } from "../../http/fields.ts";
import { userRoute, type Route } from "../../http/route.ts";
import { joinRoom } from "../../mutations/join-room.ts";
import { removeMember } from "../../mutations/remove-member.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { path, type RoomDeps } from "./room.ts";

const tag = "me";

export function joinRoomRoute({ db, afterCommit, mutex }: RoomDeps): Route {
  return userRoute(
    {
      ...{ method: "post", path: `${path}/join`, tag, summary: "Join a public room" },
      description:
        "With the role member, in a public room with join=open; 403 in another public one, and for a locked user; 404 for any " +
        "other room. Returns the room, also to one who is a member already. Matrix follows.",
      answers: { 200: { schema: myRoomResource, description: "The user is a member" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const { tenantId } = caller;
      const address = pathRoom(params);
      const person = await requirePerson(db, caller);
      const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        joinRoom(db, tenantId, address, person),
      );
      afterCommit.perform(sideEffects);
      const [room] = await presentMyRooms(db, await findMyRooms(db, [{ userId: person.id, roomId }]));
      if (!room) throw noSuchRoom();
      return { status: 200, body: room };
    },
  );
}

export function leaveRoomRoute({ db, afterCommit, mutex }: RoomDeps): Route {
  return userRoute(
    {
      ...{ method: "post", path: `${path}/leave`, tag, summary: "Leave a room" },
      description:
        "My queued messages in the room are dead. Returns my ended membership, also to one who has left before; Matrix follows. " +
        "A direct room keeps its two members: 409 conflict. 403 for a locked user, 404 for a room that the user never was in.",
      answers: { 200: { schema: memberResource, description: "The user is no member" } },
      problems: ["forbidden", "not_found", "conflict"],
    },
    async ({ caller, params }) => {
      const { tenantId } = caller;
      const address = pathRoom(params);
      const { external_id: name } = await requirePerson(db, caller);
      const { roomId, member, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        removeMember(db, tenantId, address, name, caller),
      );
      if (!member) throw noSuchRoom();
      afterCommit.perform(sideEffects);
      const left = await findMember(db, tenantId, roomId, name);
      return { status: 200, body: presentMember(left ?? member) };
    },
  );
}

function noSuchRoom(): AppError {
  return new AppError("not_found", "There is no such room.");
}
