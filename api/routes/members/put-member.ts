import { z } from "zod";
import { role, type Role } from "../../../shared/contract/roles.ts";
import { memberResource } from "../../../shared/contract/resources.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { pathNewUser, pathRoom } from "../../http/fields.ts";
import { serverRoute, userRoute, type Answer, type Call, type Route } from "../../http/route.ts";
import type { Caller } from "../../auth/authenticate.ts";
import { putMembers } from "../../mutations/put-members.ts";
import { putMemberBy } from "../../mutations/rights/put-member-by.ts";
import { roomMutexKey } from "../../mutations/room-mutex-key.ts";
import type { DesiredMember } from "../../mutations/set-members.ts";
import type { SideEffect } from "../../after-commit/side-effects.ts";
import { answerMember, isMemberFinal, path, readMember, tag, type MemberDeps } from "./member.ts";

const memberBody = z
  .strictObject({
    role: role.optional(),
    mutedUntil: z.iso.datetime({ offset: true }).nullish().meta({
      description: "Until then the member only reads; null, or a time that is over, ends it",
    }),
  })
  .meta({ id: "MemberRequest" });

const shape = {
  method: "put",
  path,
  tag,
  summary: "Add a member, change the member's role, or mute",
  body: { schema: memberBody.optional(), isOptional: true, example: { role: "speaker" } },
  answers: {
    200: { schema: memberResource, description: "Matrix has the change" },
    202: { schema: memberResource, description: "Accepted; Matrix follows" },
  },
  headers: ["Prefer"],
} as const;

type MemberCall = Call<Caller, z.output<typeof memberBody> | undefined, undefined>;

export function putMemberRoute(deps: MemberDeps): Route {
  return serverRoute(
    {
      ...shape,
      description:
        "A user who is no member gets the role member where the request has none; a member keeps the present role where it has no body or mutes. A user who " +
        "does not exist is created, or refused with 422 by the tenant's setting unknownUsers=refuse. Adding a banned person ends " +
        "the ban. A direct room has only the two users of its slug: 409 conflict for another one, 422 for muting one. 409 " +
        "too_many_roles when more than 1,000 members have a role above member.",
      problems: ["not_found", "conflict", "too_many_roles", "invalid"],
    },
    (call) => {
      const { tenantId, limits } = call.caller;
      const address = pathRoom(call.params);
      return put(deps, call, (wanted) =>
        putMembers(deps.db, tenantId, address, { members: [wanted], unknownUsers: limits.unknownUsers }),
      );
    },
  );
}

export function putMemberByUserRoute(deps: MemberDeps): Route {
  return userRoute(
    {
      ...shape,
      description:
        "Moderators and above add people as members, and mute members below their own role; admins and above give roles below " +
        "their own to members below it: 403 without the right, and for a locked user. 404 for a room that the user is not in, 409 " +
        "for a banned person, 422 for a user who does not exist.",
      problems: ["forbidden", "not_found", "conflict", "too_many_roles", "invalid"],
    },
    async (call) => {
      const { caller, params } = call;
      await requirePerson(deps.db, caller);
      const address = pathRoom(params);
      return put(deps, call, (wanted) => putMemberBy(deps.db, caller, address, wanted));
    },
  );
}

async function put(
  { db, afterCommit, mutex }: MemberDeps,
  { caller: { tenantId }, params, body, settle }: MemberCall,
  change: (wanted: DesiredMember) => Promise<{ roomId: string; sideEffects: SideEffect[] }>,
): Promise<Answer> {
  const address = pathRoom(params);
  const user = pathNewUser(params);
  const wanted: DesiredMember = {
    ...{ user, role: readRole(body), place: "user" },
    ...(body?.mutedUntil === undefined ? {} : { mutedUntil: readMute(body.mutedUntil) }),
  };
  const { roomId, sideEffects } = await mutex(roomMutexKey(tenantId, address), () => change(wanted));
  afterCommit.perform(sideEffects);
  const read = () => readMember(db, { tenantId, roomId, user });
  return answerMember(address, await settle(await read(), read, isMemberFinal));
}

/** Null: the present role. A body that names nothing names the usual role. */
function readRole(body: MemberCall["body"]): Role | null {
  if (body === undefined) return null;
  return body.role ?? (body.mutedUntil === undefined ? "member" : null);
}

/** A time that is over mutes nobody. */
function readMute(text: string | null): Date | null {
  const until = text === null ? null : new Date(text);
  return until !== null && until.getTime() > Date.now() ? until : null;
}
