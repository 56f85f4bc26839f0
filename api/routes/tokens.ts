import { z } from "zod";
import type { Db } from "../../shared/db/connection/open.ts";
import { revokeUserTokens } from "../../shared/db/users/user-tokens.ts";
import { findUser } from "../../shared/db/users/users.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { signUserToken } from "../../shared/auth/tokens.ts";
import type { AfterCommit } from "../after-commit/after-commit.ts";
import type { FindTenant } from "../auth/authenticate.ts";
import { pathUser } from "../http/fields.ts";
import { serverRoute, type Route } from "../http/route.ts";

const tokenBody = z
  .strictObject({
    expiresInS: z
      .int()
      .min(60)
      .max(86_400)
      .default(3_600)
      .meta({ description: "Seconds until the token expires" }),
  })
  .meta({ id: "TokenWish" });

const tokenResource = z
  .strictObject({ token: z.string(), expiresAt: z.iso.datetime({ precision: 3 }) })
  .meta({ id: "Token" });

const revocationResource = z
  .strictObject({
    user: z.string(),
    validFrom: z.iso
      .datetime({ precision: 3 })
      .meta({ description: "A whole second: tokens whose iat is smaller are refused" }),
  })
  .meta({ id: "TokenRevocation" });

const path = "/v1/users/{user}/tokens";
const tag = "users";

type Deps = { db: Db; afterCommit: AfterCommit; findTenant: FindTenant; now: () => number };

export function tokenRoutes(deps: Deps): Route[] {
  return [signRoute(deps), revokeRoute(deps)];
}

function signRoute({ db, findTenant, now }: Deps): Route {
  return serverRoute(
    {
      method: "post",
      path,
      tag,
      summary: "Sign a user token",
      description: "For the user's browser: the token gives access to the API and the socket as that user.",
      body: { schema: tokenBody, isOptional: true, example: { expiresInS: 3_600 } },
      answers: { 200: { schema: tokenResource, description: "The token" } },
      problems: ["not_found", "forbidden", "invalid"],
    },
    async ({ caller, params, body }) => {
      // Before the row is read: a revocation that is committed after the reading is later.
      const nowMs = now();
      const user = await findUser(db, caller.tenantId, pathUser(params));
      if (!user) throw new AppError("not_found", "There is no such user.");
      if (user.status === "locked") throw new AppError("forbidden", "The user is locked.");
      const tenant = await findTenant(caller.tenantSlug);
      if (!tenant) throw new AppError("unauthorized", "The key is not valid.");
      const { token, expiresAtMs } = await signUserToken(
        tenant.keys,
        { tenant: tenant.slug, user: user.external_id, generation: user.id },
        { nowMs, validFromMs: user.tokens_valid_from.getTime(), lifetimeS: body.expiresInS },
      );
      return { status: 200, body: { token, expiresAt: new Date(expiresAtMs).toISOString() } };
    },
  );
}

function revokeRoute({ db, afterCommit, now }: Deps): Route {
  return serverRoute(
    {
      method: "delete",
      path,
      tag,
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
