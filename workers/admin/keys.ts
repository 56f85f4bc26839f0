import {
  createApiKey,
  listApiKeys,
  revokeApiKey,
  type ApiKeyRole,
} from "../../shared/db/tenants/api-keys.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { requireTenant } from "./tenants.ts";

const KEYS_AT_MOST = 1_000;

export async function createKey(
  db: Db,
  { tenant: slug, role }: { tenant: string; role: ApiKeyRole },
): Promise<{ key: string; id: string }> {
  const tenant = await requireTenant(db, slug);
  const { id, key } = await createApiKey(db, tenant.id, role);
  await insertAudit(db, {
    tenantId: tenant.id,
    actor: "cli",
    action: "key.create",
    subject: id,
    detail: { role },
  });
  return { key, id };
}

type ListedKey = { id: string; role: string; createdAt: string; revokedAt: string | null };

export async function listKeys(db: Db, slug: string): Promise<ListedKey[]> {
  const tenant = await requireTenant(db, slug);
  return (await listApiKeys(db, tenant.id, KEYS_AT_MOST)).map((row) => ({
    id: row.id,
    role: row.role,
    createdAt: row.created_at.toISOString(),
    revokedAt: row.revoked_at?.toISOString() ?? null,
  }));
}

export async function revokeKey(db: Db, id: string): Promise<{ id: string; revoked: true }> {
  const tenantId = await revokeApiKey(db, id);
  if (tenantId === null) throw new AppError("not_found", "There is no key with that id.");
  await insertAudit(db, { tenantId, actor: "cli", action: "key.revoke", subject: id });
  return { id, revoked: true };
}
