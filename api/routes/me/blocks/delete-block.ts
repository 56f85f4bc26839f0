import { findUser } from "../../../../shared/db/users/users.ts";
import { requirePerson } from "../../../auth/require-person.ts";
import { pathUser } from "../../../http/fields.ts";
import { userRoute, type Route } from "../../../http/route.ts";
import { setBlock } from "../../../mutations/set-block.ts";
import { path, type BlockDeps } from "./block.ts";

export function deleteBlockRoute({ db, afterCommit }: BlockDeps): Route {
  return userRoute(
    {
      method: "delete",
      path,
      tag: "me",
      summary: "End a block",
      description:
        "The direct room opens again, unless the other one blocks me. Without a block nothing happens. 403 for a locked user.",
      answers: { 204: { description: "I do not block the user" } },
      problems: ["forbidden", "not_found"],
    },
    async ({ caller, params }) => {
      const person = await requirePerson(db, caller);
      const other = await findUser(db, caller.tenantId, pathUser(params));
      if (other && other.id !== person.id)
        afterCommit.perform(await setBlock(db, caller.tenantId, { person, other, isBlocked: false }));
      return { status: 204, body: undefined };
    },
  );
}
