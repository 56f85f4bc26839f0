import type { Db } from "../../shared/db/open.ts";
import { insertAudit } from "../../shared/db/audit.ts";
import { openTokenKeys } from "../../shared/db/tenants.ts";
import { findUser } from "../../shared/db/users.ts";
import { AppError } from "../../shared/errors.ts";
import type { SealKey } from "../../shared/seal.ts";
import { signUserToken } from "../../shared/tokens.ts";
import { requireTenant } from "./tenants.ts";

const LIFETIME_S = 3_600;

/** A token of one hour for a user who is there; audited. */
export async function createToken(
  db: Db,
  sealKeys: readonly SealKey[],
  { tenant: slug, user: name }: { tenant: string; user: string },
): Promise<{ token: string; expiresAt: string }> {
  const tenant = await requireTenant(db, slug);
  const user = await findUser(db, tenant.id, name);
  if (!user) throw new AppError("not_found", `Tenant ${slug} has no user ${name}.`);
  const times = { nowMs: Date.now(), lifetimeS: LIFETIME_S };
  const { token, expiresAtMs } = await signUserToken(
    openTokenKeys(sealKeys, tenant),
    { tenant: slug, user: name },
    times,
  );
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "token.create", subject: name });
  return { token, expiresAt: new Date(expiresAtMs).toISOString() };
}
