import { z } from "zod";
import { role } from "../../../shared/contract/roles.ts";
import { memberResource } from "../../../shared/contract/resources.ts";
import { pathNewUser, pathRoom } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { putMembers } from "../../mutations/put-members.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { answerMember, isMemberFinal, path, readMember, tag, type MemberDeps } from "./member.ts";

const memberBody = z.strictObject({ role: role.default("member") }).meta({ id: "MemberRequest" });

export function putMemberRoute({ db, afterCommit, mutex }: MemberDeps): Route {
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Add a member or change the member's role",
      description:
        "Without a body a user who is no member gets the role member, and a member keeps the present role. A user who does not " +
        "exist is created, or refused with 422 by the tenant's setting unknownUsers=refuse. A direct room has only the two users " +
        "of its slug: 409 conflict for another one. 409 too_many_roles when more than 1,000 members have a role above member.",
      body: { schema: memberBody.optional(), isOptional: true, example: { role: "speaker" } },
      answers: {
        200: { schema: memberResource, description: "Matrix has the change" },
        202: { schema: memberResource, description: "Accepted; Matrix follows" },
      },
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId, limits }, params, body, settle }) => {
      const address = pathRoom(params);
      const user = pathNewUser(params);
      const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
        putMembers(db, tenantId, address, {
          members: [{ user, role: body?.role ?? null, place: "user" }],
          unknownUsers: limits.unknownUsers,
        }),
      );
      afterCommit.perform(sideEffects);
      const read = () => readMember(db, { tenantId, roomId, user });
      return answerMember(address, await settle(await read(), read, isMemberFinal));
    },
  );
}
