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
        "Without a body the user becomes a member if the user is none, and otherwise keeps the role.",
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
