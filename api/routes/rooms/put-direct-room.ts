import { z } from "zod";
import { AppError } from "../../../shared/contract/errors.ts";
import { isPairBlocked } from "../../../shared/db/blocks/blocks.ts";
import { formatDirectSlug, userName } from "../../../shared/contract/names.ts";
import { requirePerson } from "../../auth/require-person.ts";
import { serverRoute, userRoute, type Route } from "../../http/route.ts";
import { describeDirectPut, put } from "./put-room.ts";
import { changeAnswers, fieldError, listPath, tag, type RoomDeps } from "./room.ts";

const path = `${listPath}/direct`;

const pairBody = z
  .strictObject({
    users: z
      .tuple([userName, userName])
      .refine(([a, b]) => a !== b, "must be two different users")
      .meta({ uniqueItems: true, description: "Two different users, in either order" }),
  })
  .meta({ id: "DirectRoomRequest" });

export function putDirectRoomRoute(deps: RoomDeps): Route {
  return serverRoute(
    {
      ...{ method: "put", path, tag, summary: "Make the direct room of two users" },
      description:
        "Both orders of the two users name the same room, which stays as it is when it exists. Users who do not exist are " +
        "created, or refused with 422 by the tenant's setting unknownUsers=refuse.",
      body: { schema: pairBody, example: { users: ["ada", "bob"] } },
      answers: changeAnswers,
      problems: ["invalid"],
      headers: ["Prefer"],
    },
    ({ caller, settle, body: { users } }) => {
      const address = { kind: "direct" as const, slug: formatDirectSlug(...users) };
      const placeOf = (user: string) => `users.${users.indexOf(user)}`;
      const desired = describeDirectPut(address, { members: [] }, placeOf);
      return put(deps, { caller, settle }, address, { ...desired, unknownUsers: caller.limits.unknownUsers });
    },
  );
}

const otherBody = z
  .strictObject({ user: userName.meta({ description: "Another user" }) })
  .meta({ id: "MyDirectRoomRequest" });

/** A person makes no users: the other one must exist. */
export function putMyDirectRoomRoute(deps: RoomDeps): Route {
  return userRoute(
    {
      ...{ method: "put", path, tag, summary: "Open my direct room with a user" },
      description:
        "The room stays as it is when it exists. 403 for a locked user and while one of the two blocks the other, 422 for myself " +
        "and for a user who does not exist.",
      body: { schema: otherBody, example: { user: "bob" } },
      answers: changeAnswers,
      problems: ["forbidden", "invalid"],
      headers: ["Prefer"],
    },
    async ({ caller, settle, body: { user: other } }) => {
      const { external_id: me } = await requirePerson(deps.db, caller);
      if (other === me) throw fieldError("user", "must be another user");
      if (await isPairBlocked(deps.db, caller.tenantId, [me, other]))
        throw new AppError(
          "forbidden",
          "You and this user do not write to each other: one of you blocks the other.",
        );
      const address = { kind: "direct" as const, slug: formatDirectSlug(me, other) };
      const desired = describeDirectPut(address, { members: [] }, () => "user");
      return put(deps, { caller, settle }, address, { ...desired, unknownUsers: "refuse" });
    },
  );
}
