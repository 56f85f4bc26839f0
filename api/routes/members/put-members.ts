import { z } from "zod";
import { membersList, pathRoom, placeMembers } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { replaceMembers } from "../../mutations/replace-members.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { listPath, membersLocation, tag, type MemberDeps } from "./member.ts";

const MAX_MEMBERS = 5_000;
const MAX_BYTES = 1_048_576;

const replacementBody = z
  .strictObject({ members: membersList(MAX_MEMBERS) })
  .meta({ id: "MembersReplacement" });

const replacementAnswer = z
  .strictObject({ members: z.int(), added: z.int(), changed: z.int(), removed: z.int() })
  .meta({ id: "MembersReplaced" });

export function putMembersRoute({ db, afterCommit, mutex }: MemberDeps): Route {
  return serverRoute(
    {
      method: "put",
      path: listPath,
      tag,
      summary: "Replace a room's members",
      description:
        "Exactly the people of the list are the members then, all or none: others are removed, and their queued messages in the " +
        "room are dead. At most 5,000 members and 1 MiB. A direct room has exactly the two users of its slug: 409 conflict for " +
        "another list. 409 too_many_roles when more than 1,000 members have a role above member. Returns how many were added, " +
        "got another role and were removed.",
      body: {
        schema: replacementBody,
        maxBytes: MAX_BYTES,
        example: { members: [{ user: "ada", role: "owner" }, { user: "bob" }] },
      },
      answers: {
        200: { schema: replacementAnswer, description: "The members are the same as before" },
        202: { schema: replacementAnswer, description: "Accepted; Matrix follows" },
      },
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
    },
    async ({ caller: { tenantId, limits }, params, body: { members } }) => {
      const address = pathRoom(params);
      const { sideEffects, ...body } = await mutex(roomMutexKey(tenantId, address), () =>
        replaceMembers(db, tenantId, address, {
          members: placeMembers(members),
          unknownUsers: limits.unknownUsers,
        }),
      );
      afterCommit.perform(sideEffects);
      if (sideEffects.length === 0) return { status: 200, body };
      return { status: 202, body, headers: { Location: membersLocation(address) } };
    },
  );
}
