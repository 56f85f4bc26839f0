import { z } from "zod";
import { putUser } from "../../../shared/db/users/users.ts";
import { pathNewUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { changeAnswers, path, settleUser, tag, userFields, type UserDeps } from "./user.ts";

const userBody = z
  .strictObject({
    displayName: userFields.displayName.default(null),
    avatar: userFields.avatar.default(null),
  })
  .meta({ id: "UserRequest" });

export function putUserRoute(deps: UserDeps): Route {
  const { db, mutex } = deps;
  return serverRoute(
    {
      method: "put",
      path,
      tag,
      summary: "Make or change a user",
      description:
        "The body says all fields: an absent one becomes null. Without a body the user is made if there is none, and " +
        "otherwise stays as it is. The account on Matrix follows.",
      body: {
        schema: userBody.optional(),
        isOptional: true,
        example: { displayName: "Ada Lovelace", avatar: null },
      },
      answers: changeAnswers,
      problems: ["invalid"],
      headers: ["Prefer"],
    },
    async ({ caller, params, body, settle }) => {
      const { tenantId } = caller;
      const name = pathNewUser(params);
      const user = await mutex(`${tenantId} ${name}`, () => putUser(db, tenantId, name, body ?? null));
      return settleUser(deps, { caller, settle }, user);
    },
  );
}
