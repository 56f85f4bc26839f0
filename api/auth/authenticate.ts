import { LRUCache } from "lru-cache";
import { findKeyHolder, type ApiKeyRole, type KeyHolder } from "../../shared/db/tenants/api-keys.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  findTenantBySlug,
  openTokenKeys,
  tenantLimits,
  type Tenant,
  type TenantLimits,
} from "../../shared/db/tenants/tenants.ts";
import { AppError } from "../../shared/contract/errors.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import {
  hasKey,
  readTokenIssuer,
  unknownTokenError,
  verifyUserToken,
  type TokenKeys,
} from "../../shared/auth/tokens.ts";
import type { TokenStamp } from "../../shared/auth/token-claims.ts";

/** The holder of the credential. The tenant comes from the credential, never from a body, a header or a path. */
export type KeyCaller = {
  kind: ApiKeyRole;
  tenantId: string;
  tenantSlug: string;
  keyId: string;
  limits: TenantLimits;
};
export type UserCaller = {
  kind: "user";
  tenantId: string;
  tenantSlug: string;
  user: string;
  /** Of its token. What reads the user's row checks it: `requireHolder`, or the SQL of `holdsToken`. */
  stamp: TokenStamp;
  limits: TenantLimits;
  /** The server key that calls as the user, see `act-as.ts`; absent for the user's own token. */
  keyId?: string;
};
export type Caller = KeyCaller | UserCaller;

export type KnownTenant = {
  id: string;
  slug: string;
  status: Tenant["status"];
  limits: TenantLimits;
  keys: TokenKeys;
};

/** How long a tenant's status, limits and token keys are used without reading them again. */
const TENANT_TTL_MS = 1_000;
const MAX_TENANTS = 1_000;

export type Authenticate = (authorization: string | undefined) => Promise<Caller>;

/** @throws AppError `unauthorized`, `token_expired`, or `forbidden` for a paused tenant. */
export function createAuthenticate(lookUp: {
  db: Db;
  findTenant: FindTenant;
  now: () => number;
}): Authenticate {
  return async (authorization) => {
    const credential = /^Bearer +([\x21-\x7e]+)$/i.exec(authorization ?? "")?.[1];
    if (credential === undefined)
      throw new AppError("unauthorized", "Send a key or a token as Authorization: Bearer.");
    return credential.startsWith("omc_")
      ? authenticateKey(lookUp.db, credential)
      : authenticateToken(lookUp, credential);
  };
}

/** The holder of a valid API key. @throws AppError `unauthorized` or `forbidden`. */
export async function authenticateKey(db: Db, key: string): Promise<KeyCaller> {
  const holder = await findKeyHolder(db, key);
  if (!holder) throw new AppError("unauthorized", "The key is not valid.");
  return callerOf(holder);
}

/** @throws AppError `forbidden` when the tenant is paused. */
export function callerOf(holder: KeyHolder): KeyCaller {
  requireActive(holder.tenantStatus);
  const { role: kind, tenantId, tenantSlug, keyId } = holder;
  return { kind, tenantId, tenantSlug, keyId, limits: tenantLimits.parse(holder.limits) };
}

async function authenticateToken(
  { findTenant, now }: { findTenant: FindTenant; now: () => number },
  token: string,
): Promise<UserCaller> {
  const { tenant: slug, kid } = readTokenIssuer(token);
  const tenant = slug === null ? null : await findTenant(slug, kid);
  if (!tenant) throw unknownTokenError();
  const { user, stamp } = verifyUserToken(tenant.keys, tenant.slug, token, now());
  requireActive(tenant.status);
  return { kind: "user", tenantId: tenant.id, tenantSlug: tenant.slug, user, stamp, limits: tenant.limits };
}

function requireActive(status: Tenant["status"]): void {
  if (status !== "active") throw new AppError("forbidden", "The tenant is paused.");
}

/** `kid`: of a token to verify. A cached tenant is not used for a key that it does not have. */
export type FindTenant = (slug: string, kid?: string) => Promise<KnownTenant | null>;

/**
 * Finds tenants by slug and caches them for a second. A token with an unknown key costs one reading, whether its tenant
 * exists or not, so that an outsider cannot tell by the time either; and a key that was rotated counts at once.
 */
export function createFindTenant(db: Db, sealKeys: readonly SealKey[], now: () => number): FindTenant {
  const known = new LRUCache<string, KnownTenant>({
    max: MAX_TENANTS,
    ttl: TENANT_TTL_MS,
    ttlResolution: 0,
    perf: { now },
  });
  return async (slug, kid) => {
    const cached = known.get(slug);
    if (cached && (kid === undefined || hasKey(cached.keys, kid))) return cached;
    const row = await findTenantBySlug(db, slug);
    if (!row) return null;
    const tenant: KnownTenant = {
      id: row.id,
      slug: row.slug,
      status: row.status,
      limits: tenantLimits.parse(row.limits),
      keys: openTokenKeys(sealKeys, row),
    };
    known.set(slug, tenant);
    return tenant;
  };
}
