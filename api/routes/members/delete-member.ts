import { memberResource, type MemberResource } from "../../../shared/contract/resources.ts";
import { pathRoom, pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { removeMember } from "../../mutations/remove-member.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { answerMember, isMemberFinal, path, readMember, tag, type MemberDeps } from "./member.ts";

export function deleteMemberRoute({ db, afterCommit, mutex }: MemberDeps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Remove a member",
      description:
        "The member's queued messages in the room are dead. Removing a user who is not a member returns 200.",
      answers: {
        200: { schema: memberResource, description: "The member is removed, on Matrix too" },
        202: { schema: memberResource, description: "The member is removed; Matrix follows" },
      },
      problems: ["not_found"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, params, settle }) => {
      const address = pathRoom(params);
      const user = pathUser(params);
      const { roomId, member, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        removeMember(db, tenantId, address, user),
      );
      afterCommit.perform(sideEffects);
      if (!member) return { status: 200, body: describeNonMember(user) };
      const read = () => readMember(db, { tenantId, roomId, user });
      return answerMember(address, await settle(await read(), read, isMemberFinal));
    },
  );
}

/** A user who never was in the room is shown as a removed member. */
function describeNonMember(user: string): MemberResource {
  return { user, displayName: null, avatar: null, role: "guest", status: "removed" };
}
