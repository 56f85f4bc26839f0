import { z } from "zod";
import { userName } from "../../../shared/contract/names.ts";
import { userResource } from "../../../shared/contract/resources.ts";
import { listUsers } from "../../../shared/db/users/user-lists.ts";
import { presentUser } from "../../../shared/db/users/users.ts";
import { decodeCursor } from "../../http/fields.ts";
import { pageFields, pageOf, toPage } from "../../http/paging.ts";
import { serverRoute, type Route } from "../../http/route.ts";
import { listPath, tag, type UserDeps } from "./user.ts";

export const userPage = pageOf(userResource, "UserPage");

export function listUsersRoute({ db }: Pick<UserDeps, "db">): Route {
  return serverRoute(
    {
      method: "get",
      path: listPath,
      tag,
      summary: "List all users, sorted by their ids",
      query: z.strictObject(pageFields),
      answers: { 200: { schema: userPage, description: "A page of users" } },
      problems: ["invalid"],
    },
    async ({ caller: { tenantId }, query: { limit, cursor: text } }) => {
      const cursor = decodeCursor(text, (position) => userName.safeParse(position).data ?? null);
      const users = await listUsers(db, tenantId, { limit: limit + 1, cursor });
      const { rows, next } = toPage(users, limit, (user) => user.external_id);
      return { status: 200, body: { items: rows.map(presentUser), next } };
    },
  );
}
