import { z } from "zod";
import { patchUser } from "../../../shared/db/users/users.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { pathUser } from "../../http/fields.ts";
import { MERGE_PATCH, namedFields, serverRoute, type Route } from "../../http/route.ts";
import { changeAnswers, path, settleUser, tag, userFields, type UserDeps } from "./user.ts";

const patchBody = z
  .strictObject({ displayName: userFields.displayName.optional(), avatar: userFields.avatar.optional() })
  .meta({ id: "UserPatch" });

export function patchUserRoute(deps: UserDeps): Route {
  const { db, mutex } = deps;
  return serverRoute(
    {
      method: "patch",
      path,
      tag,
      summary: "Change some fields of a user",
      description: "A merge patch (RFC 7396): an absent field stays, null clears it. Makes no user.",
      body: { schema: patchBody, types: MERGE_PATCH, example: { displayName: "Ada King" } },
      answers: changeAnswers,
      problems: ["not_found"],
      headers: ["Prefer"],
    },
    async ({ caller, params, body, settle }) => {
      const { tenantId } = caller;
      const name = pathUser(params);
      const user = await mutex(`${tenantId} ${name}`, () => patchUser(db, tenantId, name, namedFields(body)));
      if (!user) throw new AppError("not_found", "There is no such user.");
      return settleUser(deps, { caller, settle }, user);
    },
  );
}
