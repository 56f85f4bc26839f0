import type { Config } from "../../shared/platform/config.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { resealCredentials } from "../../shared/db/homeservers/credentials.ts";
import { resealHomeservers } from "../../shared/db/homeservers/homeservers.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { openTokenKeys, resealTenants, rotateTokenKeys } from "../../shared/db/tenants/tenants.ts";
import { requireTenant } from "./tenants.ts";

/** Seals every secret with the first of SEAL_KEYS. After that the other keys may be removed. */
export async function reseal(
  db: Db,
  config: Config,
): Promise<{ key: string; homeservers: number; tenants: number; credentials: number }> {
  const key = config.sealKeys[0]?.id ?? "";
  const homeservers = await resealHomeservers(db, config.sealKeys);
  const tenants = await resealTenants(db, config.sealKeys);
  const credentials = await resealCredentials(db, config.sealKeys);
  await insertAudit(db, { tenantId: null, actor: "cli", action: "seal.rotate", subject: key });
  return { key, homeservers, tenants, credentials };
}

/** Returns the key with which a product signs its own user tokens. Audited. The secret is in base64url. */
export async function showTokenKey(
  db: Db,
  config: Config,
  slug: string,
): Promise<{ tenant: string; kid: string; secret: string }> {
  const tenant = await requireTenant(db, slug);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "token-key.show", subject: slug });
  return { tenant: slug, ...openTokenKeys(config.sealKeys, tenant).current };
}

/** Replaces the signing key. Tokens of the former key stay valid until the next rotation. */
export async function rotateTokenKey(
  db: Db,
  config: Config,
  slug: string,
): Promise<{ tenant: string; kid: string }> {
  const tenant = await requireTenant(db, slug);
  const { current } = await rotateTokenKeys(db, config.sealKeys, tenant.id);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "token-key.rotate", subject: slug });
  return { tenant: slug, kid: current.kid };
}
