import { z } from "zod";
import { findErasure } from "../../../shared/db/users/erasures.ts";
import { findUser, presentUser } from "../../../shared/db/users/users.ts";
import { userResource } from "../../../shared/contract/resources.ts";
import { deleteUser } from "../../mutations/delete-user.ts";
import { pathUser } from "../../http/fields.ts";
import { answerResource, serverRoute, type Route } from "../../http/route.ts";
import { path, tag, type UserDeps } from "./user.ts";

const query = z.strictObject({
  erase: z
    .enum(["true", "false"])
    .default("false")
    .meta({ description: "Whether what the user wrote is emptied, here and on the chat server" }),
});

export function deleteUserRoute({ db, afterCommit }: Pick<UserDeps, "db" | "afterCommit">): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
      summary: "Delete a user",
      description:
        "The user leaves all rooms, and queued messages are dead. What the user wrote stays, by a person without `user`. With " +
        "`erase=true` the name and the avatar are gone at once, and the texts in the background: `Location` says how far that is. " +
        "When no user has the name, the one who was deleted last is erased. Returns the user as it was, or null if there was none.",
      query,
      answers: {
        200: { schema: userResource.nullable(), description: "The user is deleted" },
        202: { schema: userResource.nullable(), description: "The user is deleted; the texts follow" },
      },
      problems: ["not_found"],
    },
    async ({ caller: { tenantId }, params, query: { erase } }) => {
      const name = pathUser(params);
      const user = await findUser(db, tenantId, name);
      const erases = erase === "true";
      const sideEffects = await deleteUser(db, tenantId, name, { erases });
      if (sideEffects) afterCommit.perform(sideEffects);
      const body = user ? presentUser(user) : null;
      const erasure = erases ? await findErasure(db, tenantId, name) : undefined;
      const isFinal = erasure?.finished_at !== null;
      return answerResource(body, { isFinal, location: `/v1/users/${encodeURIComponent(name)}/erasure` });
    },
  );
}
