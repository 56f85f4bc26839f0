import { z } from "zod";
import { userName } from "../../../shared/contract/names.ts";
import type { UserResource } from "../../../shared/contract/resources.ts";
import { putUsers } from "../../../shared/db/users/put-users.ts";
import { findUsers } from "../../../shared/db/users/user-lists.ts";
import { presentUser } from "../../../shared/db/users/users.ts";
import { NAMED_TWICE, namesEachOnce } from "../../http/fields.ts";
import { answerResource, namedFields, serverRoute, type Route } from "../../http/route.ts";
import { userPage } from "./list-users.ts";
import { isUserFinal, listPath, tag, userFields, type UserDeps } from "./user.ts";

const MAX_USERS = 1_000;
const MAX_BYTES = 1_048_576;

const usersBody = z
  .strictObject({
    users: z
      .array(
        z.strictObject({
          user: userName,
          displayName: userFields.displayName.optional(),
          avatar: userFields.avatar.optional(),
        }),
      )
      .min(1)
      .max(MAX_USERS)
      .refine(namesEachOnce, NAMED_TWICE)
      .meta({ uniqueItems: true, description: "A user may be named once" }),
  })
  .meta({ id: "UsersRequest" });

export function postUsersRoute({ db, afterCommit }: Pick<UserDeps, "db" | "afterCommit">): Route {
  return serverRoute(
    {
      method: "post",
      path: listPath,
      tag,
      summary: "Make or change up to 1,000 users, all or none",
      description:
        "A field that is left out stays as it is, and is null in a new user; null clears it. The body has at most 1 MiB. The " +
        "accounts on Matrix follow. Returns the users in the order of the request. 503 when the tenant has too many pending users.",
      body: {
        schema: usersBody,
        maxBytes: MAX_BYTES,
        example: { users: [{ user: "ada", displayName: "Ada Lovelace" }, { user: "bob" }] },
      },
      answers: {
        200: { schema: userPage, description: "Matrix has all users as requested" },
        202: {
          schema: userPage,
          description: "Accepted; the accounts on Matrix are still being made or changed",
        },
      },
      problems: ["invalid", "unavailable"],
      headers: ["Prefer"],
    },
    async ({ caller: { tenantId }, body, settle }) => {
      const changes = body.users.map(({ user: name, ...fields }) => ({ name, ...namedFields(fields) }));
      const { users, dueIds } = await putUsers(db, tenantId, changes);
      afterCommit.perform(
        dueIds.map((id) => ({
          type: "wakeJob",
          name: "provisioning",
          payload: { tenantId, subject: "user", id },
        })),
      );
      const names = changes.map(({ name }) => name);
      const read = async () => (await findUsers(db, tenantId, names)).map(presentUser);
      const items = await settle(users.map(presentUser), read, areFinal);
      return answerResource({ items, next: null }, { isFinal: areFinal(items), location: listPath });
    },
  );
}

function areFinal(items: readonly UserResource[]): boolean {
  return items.every(isUserFinal);
}
