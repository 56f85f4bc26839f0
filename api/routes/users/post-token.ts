import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import { findUser } from "../../../shared/db/users/users.ts";
import { AppError } from "../../../shared/contract/errors.ts";
import { signUserToken } from "../../../shared/auth/tokens.ts";
import type { FindTenant } from "../../auth/authenticate.ts";
import { pathUser } from "../../http/fields.ts";
import { serverRoute, type Route } from "../../http/route.ts";

const tokenBody = z
  .strictObject({
    expiresInS: z
      .int()
      .min(60)
      .max(86_400)
      .default(3_600)
      .meta({ description: "Seconds until the token expires" }),
  })
  .meta({ id: "TokenRequest" });

const tokenResource = z
  .strictObject({ token: z.string(), expiresAt: z.iso.datetime({ precision: 3 }) })
  .meta({ id: "Token" });

export type TokenDeps = { db: Db; findTenant: FindTenant; now: () => number };

export function postTokenRoute({ db, findTenant, now }: TokenDeps): Route {
  return serverRoute(
    {
      method: "post",
      path: "/v1/users/{user}/tokens",
      tag: "users",
      summary: "Sign a user token",
      description:
        "For the user's browser: the token gives access to the API and the socket as that user. Without a body it is valid for " +
        "an hour. 403 for a locked user.",
      body: { schema: tokenBody.prefault({}), isOptional: true, example: { expiresInS: 3_600 } },
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
