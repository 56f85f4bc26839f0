import { memberResource, type MemberResource } from "../../../shared/contract/resources.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { pathRoom, pathUser } from "../../http/fields.ts";
import { serverRoute, userRoute, type Answer, type Call, type Route } from "../../http/route.ts";
import { changerOf } from "../../mutations/rights/actor.ts";
import { removeMember } from "../../mutations/remove-member.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import { answerMember, isMemberFinal, path, readMember, tag, type MemberDeps } from "./member.ts";

const shape = {
  method: "delete",
  path,
  tag,
  summary: "Remove a member",
  answers: {
    200: { schema: memberResource, description: "The member is removed, on Matrix too" },
    202: { schema: memberResource, description: "The member is removed; Matrix follows" },
  },
  headers: ["Prefer"],
} as const;

const QUEUED =
  "The member's queued messages in the room are dead. Removing a user who is not a member returns 200.";

export function deleteMemberRoute(deps: MemberDeps): Route {
  return serverRoute({ ...shape, description: QUEUED, problems: ["not_found"] }, (call) =>
    remove(deps, call),
  );
}

export function deleteMemberByUserRoute(deps: MemberDeps): Route {
  return userRoute(
    {
      ...shape,
      description:
        `${QUEUED} For moderators and above, and members below their own role; oneself, as by leaving. 403 without the right, and for a ` +
        "locked user; 404 for a room that the user is not in. A direct room keeps its two members.",
      problems: ["forbidden", "not_found", "conflict"],
    },
    async (call) => {
      await requirePerson(deps.db, call.caller);
      return remove(deps, call);
    },
  );
}

async function remove(
  { db, afterCommit, mutex }: MemberDeps,
  { caller, params, settle }: Pick<Call<Caller, unknown, unknown>, "caller" | "params" | "settle">,
): Promise<Answer> {
  const { tenantId } = caller;
  const address = pathRoom(params);
  const user = pathUser(params);
  const { roomId, member, sideEffects } = await mutex(roomMutexKey(tenantId, address), () =>
    removeMember(db, tenantId, address, user, changerOf(caller)),
  );
  afterCommit.perform(sideEffects);
  if (!member) return { status: 200, body: describeNonMember(user) };
  const read = () => readMember(db, { tenantId, roomId, user });
  return answerMember(address, await settle(await read(), read, isMemberFinal));
}

/** A user who never was in the room is shown as a removed member. */
function describeNonMember(user: string): MemberResource {
  return { user, displayName: null, avatar: null, role: "guest", mutedUntil: null, status: "removed" };
}
