import { findUser, presentUser } from "../../../shared/db/users/users.ts";
import { userResource } from "../../../shared/contract/resources.ts";
import { deleteUser } from "../../mutations/delete-user.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { path, tag, type UserDeps } from "./user.ts";

export function deleteUserRoute({ db, afterCommit }: Pick<UserDeps, "db" | "afterCommit">): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Delete a user",
      description:
        "The user leaves all rooms, and queued messages are dead. Returns the user as it was, or null if there was none.",
      answers: { 200: { schema: userResource.nullable(), description: "The user is deleted" } },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params }) => {
      const name = pathUser(params);
      const user = await findUser(db, tenantId, name);
      const sideEffects = await deleteUser(db, tenantId, name);
      if (sideEffects) afterCommit.perform(sideEffects);
      return { status: 200, body: user ? presentUser(user) : null };
    },
  );
}
