import { AppError } from "../../shared/contract/errors.ts";
import { isTenantOrigin } from "../../shared/auth/origins.ts";
import type { UserClaims } from "../../shared/auth/token-claims.ts";
import {
  readTokenIssuer,
  unknownTokenError,
  verifyUserToken,
  type TokenKeys,
} from "../../shared/auth/tokens.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import {
  findConnectables,
  findRights,
  type Connectable,
  type UserName,
} from "../../shared/db/memberships/subscription-rights.ts";
import {
  createKeyOpener,
  findActiveTenants,
  tenantLimits,
  type TenantLimits,
} from "../../shared/db/tenants/tenants.ts";
import { isHeldBy } from "../../shared/db/users/user-tokens.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import { createQueryBatcher } from "./query-batcher.ts";
import type { Identity, Policy, Rights } from "./policy.ts";
import { presentRights } from "./present.ts";

export type AuthenticationOptions = {
  db: Db;
  sealKeys: readonly SealKey[];
  /** The rooms of the rights. */
  rooms: number;
  /** For tenants without a list of their own. */
  allowedOrigins: readonly string[];
};

/** A tenant that is not paused. */
type KnownTenant = { id: string; keys: TokenKeys; limits: TenantLimits };

export function createAuthentication({
  db,
  sealKeys,
  rooms,
  allowedOrigins,
}: AuthenticationOptions): Pick<Policy, "authenticate" | "allow"> {
  const findTenant = createTenantFinder(db, sealKeys);
  const findUser = createUserFinder((names) => findConnectables(db, names));
  const findUserRights = createUserFinder((names) => findRights(db, names, rooms));

  const verify = async (token: string) => {
    const { tenant: slug } = readTokenIssuer(token);
    const tenant = slug === null ? undefined : await findTenant(slug);
    if (slug === null || !tenant) throw unknownTokenError();
    return { tenant, claims: verifyUserToken(tenant.keys, slug, token, Date.now()) };
  };
  const identify = <Row extends Connectable>(
    found: { tenant: KnownTenant; claims: UserClaims; user: Row | undefined },
    origin: string | null,
  ): { identity: Identity; row: Row } => {
    const { tenant, claims, user: row } = found;
    if (!row) throw new AppError("unauthorized", "The token belongs to no known user.");
    if (origin !== null && !isTenantOrigin(origin, tenant.limits.allowedOrigins, allowedOrigins))
      throw new AppError("forbidden", "Pages of this origin may not act for this tenant.");
    if (!row.is_active) throw goneError();
    if (!isHeldBy(row, claims.stamp))
      throw new AppError("forbidden", "The token was revoked, or is of a former user.");
    return { identity: createIdentity(tenant, claims, row.id), row };
  };
  return {
    authenticate: async (token, origin) => {
      const { tenant, claims } = await verify(token);
      const user = await findUser({ tenantId: tenant.id, user: claims.user });
      return identify({ tenant, claims, user }, origin).identity;
    },
    allow: async (token, origin, awaitTurn) => {
      const { tenant, claims } = await verify(token);
      await awaitTurn({ tenantId: tenant.id, user: claims.user });
      const user = await findUserRights({ tenantId: tenant.id, user: claims.user });
      const { identity, row } = identify({ tenant, claims, user }, origin);
      return { identity, rights: requireActive(identity, presentRights(row)) };
    },
  };
}

/** @throws AppError when the user may not connect any more, or the token was revoked since it was authenticated. */
export function requireActive({ stamp }: Identity, rights: Rights): Rights {
  if (rights.state === "paused") throw new AppError("unauthorized", "The tenant is paused.");
  if (rights.state === "gone") throw goneError();
  if (stamp.issuedAtMs < rights.tokensValidFromMs) throw new AppError("forbidden", "The token was revoked.");
  return rights;
}

function goneError(): AppError {
  return new AppError("forbidden", "The user is locked or gone.");
}

function createIdentity(
  { id: tenantId, limits }: KnownTenant,
  { user, expiresAtMs, stamp }: UserClaims,
  id: string,
): Identity {
  const sockets = { ofUser: limits.userSockets, ofTenant: limits.tenantSockets };
  return { userRef: { kind: "user", id, channel: `user:${user}` }, tenantId, expiresAtMs, stamp, sockets };
}

function createTenantFinder(
  db: Db,
  sealKeys: readonly SealKey[],
): (slug: string) => Promise<KnownTenant | undefined> {
  const openKeys = createKeyOpener(sealKeys);
  return createQueryBatcher(async (slugs) => {
    const tenants = await findActiveTenants(db, slugs);
    return new Map(
      tenants.map((tenant) => [
        tenant.slug,
        { id: tenant.id, keys: openKeys(tenant), limits: tenantLimits.parse(tenant.limits) },
      ]),
    );
  });
}

function createUserFinder<Row extends Connectable>(
  find: (names: readonly UserName[]) => Promise<Row[]>,
): (name: UserName) => Promise<Row | undefined> {
  const batcher = createQueryBatcher(async (keys) => {
    const rows = await find(keys.map(parseUserKey));
    return new Map(
      rows.map((row) => [formatUserKey({ tenantId: row.tenant_id, user: row.external_id }), row]),
    );
  });
  return (name) => batcher(formatUserKey(name));
}

// The row id of a tenant has no space in it.
function formatUserKey({ tenantId, user }: UserName): string {
  return `${tenantId} ${user}`;
}

function parseUserKey(key: string): UserName {
  const space = key.indexOf(" ");
  return { tenantId: key.slice(0, space), user: key.slice(space + 1) };
}
