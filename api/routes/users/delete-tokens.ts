import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { revokeUserTokens } from "../../../shared/db/users/user-tokens.ts";
import type { AfterCommit } from "../../after-commit/after-commit.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";

const revocationResource = z
  .strictObject({
    user: z.string(),
    validFrom: z.iso
      .datetime({ precision: 3 })
      .meta({ description: "A whole second: tokens whose iat is smaller are refused" }),
  })
  .meta({ id: "TokenRevocation" });

export function deleteTokensRoute({
  db,
  afterCommit,
  now,
}: {
  db: Db;
  afterCommit: AfterCommit;
  now: () => number;
}): Route {
  return serverRoute(
    {
      method: "delete",
      path: "/v1/users/{user}/tokens",
      tag: "users",
      summary: "Revoke a user's tokens",
      description:
        "All tokens of the user that are signed before the next whole second are refused, also those that the product " +
        "signs, and their sockets are closed with 3503. Tokens that are signed later are valid.",
      answers: { 200: { schema: revocationResource, description: "The tokens are revoked" } },
      problems: ["not_found"],
    },
    async ({ caller, params }) => {
      const user = pathUser(params);
      const validFrom = await revokeUserTokens(db, caller.tenantId, user, now());
      afterCommit.perform([{ type: "publishUserEvents" }]);
      return { status: 200, body: { user, validFrom: validFrom.toISOString() } };
    },
  );
}
