import type { Db } from "../../shared/db/connection/open.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { openTokenKeys } from "../../shared/db/tenants/tenants.ts";
import { revokeUserTokens } from "../../shared/db/users/user-tokens.ts";
import { findUser } from "../../shared/db/users/users.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import { signUserToken } from "../../shared/auth/tokens.ts";
import { requireTenant } from "./tenants.ts";

const LIFETIME_S = 3_600;

/** Signs a token of one hour for an existing user. Audited. */
export async function createToken(
  db: Db,
  sealKeys: readonly SealKey[],
  { tenant: slug, user: name }: { tenant: string; user: string },
): Promise<{ token: string; expiresAt: string }> {
  const tenant = await requireTenant(db, slug);
  // Before the row is read: a revocation that is committed after the reading is later.
  const nowMs = Date.now();
  const user = await findUser(db, tenant.id, name);
  if (!user) throw new AppError("not_found", `Tenant ${slug} has no user ${name}.`);
  const times = { nowMs, validFromMs: user.tokens_valid_from.getTime(), lifetimeS: LIFETIME_S };
  const { token, expiresAtMs } = await signUserToken(
    openTokenKeys(sealKeys, tenant),
    { tenant: slug, user: name, generation: user.id },
    times,
  );
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "token.create", subject: name });
  return { token, expiresAt: new Date(expiresAtMs).toISOString() };
}

/** Refuses the tokens of a user that are signed before the next whole second. Audited. The sweeper ends their sockets. */
export async function revokeTokens(
  db: Db,
  { tenant: slug, user }: { tenant: string; user: string },
): Promise<{ user: string; validFrom: string }> {
  const tenant = await requireTenant(db, slug);
  const validFrom = await revokeUserTokens(db, tenant.id, user, Date.now());
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "token.revoke", subject: user });
  return { user, validFrom: validFrom.toISOString() };
}
