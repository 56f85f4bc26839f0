import { createHash, timingSafeEqual } from "node:crypto";
import { Model } from "objection";
import { randomToken } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";

export type ApiKeyRole = "server" | "operator" | "viewer";

/** A credential of a tenant's backend or of its operators. Only the hash of its secret is kept. */
export class ApiKey extends Model {
  static override tableName = "api_keys";
  declare id: string;
  declare tenant_id: string;
  declare role: ApiKeyRole;
  declare secret_hash: Buffer;
  declare created_at: Date;
  declare revoked_at: Date | null;
}

const ID_LENGTH = 16;
const SECRET_LENGTH = 40;
const KEY_PATTERN = new RegExp(
  `^omc_(server|operator|viewer)_([a-z2-7]{${ID_LENGTH}})_([a-z2-7]{${SECRET_LENGTH}})$`,
);

/** Creates a key. Its text is returned once and stored nowhere. */
export async function createApiKey(
  db: Db,
  tenantId: string,
  role: ApiKeyRole,
): Promise<{ id: string; key: string }> {
  const id = randomToken(ID_LENGTH);
  const secret = randomToken(SECRET_LENGTH);
  await db("api_keys").insert({ id, tenant_id: tenantId, role, secret_hash: hashSecret(secret) });
  return { id, key: `omc_${role}_${id}_${secret}` };
}

/** The tenant and the rights of a key. */
export type KeyHolder = {
  keyId: string;
  role: ApiKeyRole;
  tenantId: string;
  tenantSlug: string;
  tenantStatus: "active" | "paused";
  /** As stored: `tenantLimits` reads it. */
  limits: Record<string, unknown>;
};

/** The holder of a valid key: it exists, is not revoked, and its secret is right. Null for anything else. */
export async function findKeyHolder(db: Db, key: string): Promise<KeyHolder | null> {
  const [, role, id, secret] = KEY_PATTERN.exec(key) ?? [];
  if (role === undefined || id === undefined || secret === undefined) return null;
  const row = await findUnrevoked(db, id);
  // Compared also when there is no such key, so that the response time does not reveal that.
  const isSecret = timingSafeEqual(row?.secretHash ?? NO_HASH, hashSecret(secret));
  return row?.role === role && isSecret ? withoutHash(row) : null;
}

/** The holder of a key that was valid before; null when it is revoked. */
export async function findKeyHolderById(db: Db, id: string): Promise<KeyHolder | null> {
  const row = await findUnrevoked(db, id);
  return row ? withoutHash(row) : null;
}

type HashedHolder = KeyHolder & { secretHash: Buffer };

async function findUnrevoked(db: Db, id: string): Promise<HashedHolder | undefined> {
  const rows = await rowsOf<HashedHolder>(
    db,
    `select k.id as "keyId", k.role, k.secret_hash as "secretHash", t.id as "tenantId", t.slug as "tenantSlug",
            t.status as "tenantStatus", t.limits
       from api_keys k join tenants t on t.id = k.tenant_id
      where k.id = ? and k.revoked_at is null`,
    [id],
  );
  return rows[0];
}

function withoutHash({ secretHash: _, ...holder }: HashedHolder): KeyHolder {
  return holder;
}

export async function listApiKeys(db: Db, tenantId: string, limit: number): Promise<ApiKey[]> {
  return ApiKey.query(db).where({ tenant_id: tenantId }).orderBy("created_at").limit(limit);
}

/** Revokes a key; once more changes nothing. Returns its tenant, null when there is no such key. */
export async function revokeApiKey(db: Db, id: string): Promise<string | null> {
  const rows = await rowsOf<{ tenant_id: string }>(
    db,
    "update api_keys set revoked_at = coalesce(revoked_at, now()) where id = ? returning tenant_id",
    [id],
  );
  return rows[0]?.tenant_id ?? null;
}

const NO_HASH = Buffer.alloc(32);

function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret, "utf8").digest();
}
