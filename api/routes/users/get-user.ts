import { userResource } from "../../../shared/contract/resources.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { path, readUser, tag, type UserDeps } from "./user.ts";

export function getUserRoute({ db }: Pick<UserDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path,
      tag,
      summary: "Read a user",
      answers: { 200: { schema: userResource, description: "The user" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => ({
      status: 200,
      body: await readUser(db, caller.tenantId, pathUser(params)),
    }),
  );
}
