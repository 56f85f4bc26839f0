import type { Config } from "../../shared/config.ts";
import { insertAudit } from "../../shared/db/audit.ts";
import { ensureHomeserver } from "../../shared/db/homeservers.ts";
import type { Db } from "../../shared/db/open.ts";
import {
  createTenant,
  findTenantBySlug,
  listTenants,
  setTenantStatus,
  type Tenant,
} from "../../shared/db/tenants.ts";
import { AppError } from "../../shared/errors.ts";

const TENANTS_AT_MOST = 10_000;

/** Makes a tenant on the homeserver of the configuration. */
export async function createTenantNamed(
  db: Db,
  config: Config,
  slug: string,
): Promise<{ tenant: string; created: boolean }> {
  const homeserver = await ensureHomeserver(db, config.sealKeys, config.homeserver);
  const { tenant, isCreated } = await createTenant(db, config.sealKeys, { slug, homeserver });
  if (isCreated)
    await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "tenant.create", subject: slug });
  return { tenant: slug, created: isCreated };
}

export async function listAllTenants(
  db: Db,
): Promise<{ tenant: string; status: string; createdAt: string }[]> {
  const tenants = await listTenants(db, TENANTS_AT_MOST);
  return tenants.map(({ slug, status, created_at }) => ({
    tenant: slug,
    status,
    createdAt: created_at.toISOString(),
  }));
}

export async function pauseTenant(
  db: Db,
  slug: string,
  status: Tenant["status"],
): Promise<{ tenant: string; status: string }> {
  const tenant = await requireTenant(db, slug);
  await setTenantStatus(db, slug, status);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: `tenant.${status}`, subject: slug });
  return { tenant: slug, status };
}

/** @throws AppError `not_found`. */
export async function requireTenant(db: Db, slug: string): Promise<Tenant> {
  const tenant = await findTenantBySlug(db, slug);
  if (!tenant)
    throw new AppError("not_found", `There is no tenant ${slug}. Make it with: tenant create ${slug}`);
  return tenant;
}
