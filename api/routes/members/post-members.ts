import { z } from "zod";
import { findMembers, presentMember } from "../../../shared/db/memberships/memberships.ts";
import type { MemberResource } from "../../../shared/contract/resources.ts";
import { desiredMembers, pathRoom, placeMembers } from "../../http/fields.ts";
import { answerResource, serverRoute, type Route } from "../../http/route.ts";
import { putMembers } from "../../mutations/put-members.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { isMemberFinal, listPath, memberPage, membersLocation, tag, type MemberDeps } from "./member.ts";

const membersBody = z.strictObject({ members: desiredMembers.min(1) }).meta({ id: "MembersRequest" });

export function postMembersRoute({ db, afterCommit, mutex }: MemberDeps): Route {
  return serverRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Add or change up to 1,000 members, all or none",
      description:
        "Members who are not named stay. A direct room has only the two users of its slug: 409 conflict for another one. 409 " +
        "too_many_roles when more than 1,000 members have a role above member.",
      body: { schema: membersBody, example: { members: [{ user: "ada", role: "owner" }, { user: "bob" }] } },
      answers: {
        200: { schema: memberPage, description: "Matrix has all changes" },
        202: { schema: memberPage, description: "Accepted; Matrix follows" },
      },
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId, limits }, params, body: { members }, settle }) => {
      const address = pathRoom(params);
      const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        putMembers(db, tenantId, address, {
          members: placeMembers(members),
          unknownUsers: limits.unknownUsers,
        }),
      );
      afterCommit.perform(sideEffects);
      const names = members.map(({ user }) => user);
      const read = async () => (await findMembers(db, tenantId, roomId, names)).map(presentMember);
      const items = await settle(await read(), read, areFinal);
      return answerResource(
        { items, next: null },
        { isFinal: areFinal(items), location: membersLocation(address) },
      );
    },
  );
}

function areFinal(items: readonly MemberResource[]): boolean {
  return items.every(isMemberFinal);
}
