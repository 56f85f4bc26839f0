import { AppError } from "../../../../shared/contract/errors.ts";
import { findBlock } from "../../../../shared/db/blocks/blocks.ts";
import { findUser } from "../../../../shared/db/users/users.ts";
import { requirePerson } from "../../../auth/require-person.ts";
import { pathUser } from "../../../http/fields.ts";
import { userRoute, type Route } from "../../../http/route.ts";
import { setBlock } from "../../../mutations/set-block.ts";
import { blockResource, path, presentBlock, type BlockDeps } from "./block.ts";

export function putBlockRoute({ db, afterCommit }: BlockDeps): Route {
  return userRoute(
    {
      method: "put",
      path,
      tag: "me",
      summary: "Block a user",
      description:
        "Shuts the direct room of the two for both: they read it and delete their own messages, and write, react and type no more. " +
        "Neither opens it again while the block stands. In other rooms nothing changes. It ends with DELETE, and when either is " +
        "deleted. 403 for a locked user, 404 for a user who does not exist, 409 conflict beyond 1,000 blocks, 422 for myself.",
      answers: { 200: { schema: blockResource, description: "The user is blocked" } },
      problems: ["forbidden", "not_found", "conflict", "invalid"],
    },
    async ({ caller, params }) => {
      const person = await requirePerson(db, caller);
      const other = await findUser(db, caller.tenantId, pathUser(params));
      if (!other) throw new AppError("not_found", "There is no such user.");
      if (other.id === person.id)
        throw new AppError("invalid", "The path is not valid.", {
          errors: [{ path: "user", message: "must be another user" }],
        });
      afterCommit.perform(await setBlock(db, caller.tenantId, { person, other, isBlocked: true }));
      const block = await findBlock(db, person.id, other.id);
      if (!block) throw new AppError("not_found", "There is no such user.");
      return { status: 200, body: presentBlock(block) };
    },
  );
}
