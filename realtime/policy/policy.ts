import {
  findConnectables,
  findGrants,
  readGrants,
  readRights,
  readUserAccess,
  type ConnectableState,
  type GrantRow,
  type UserAccessRow,
} from "../../shared/db/memberships/subscription-rights.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { isHeldBy } from "../../shared/db/users/user-tokens.ts";
import { createKeyOpener, findActiveTenants, tenantLimits } from "../../shared/db/tenants/tenants.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, parseRoomKey } from "../../shared/contract/names.ts";
import { isTenantOrigin } from "../../shared/auth/origins.ts";
import type { SealKey } from "../../shared/platform/seal.ts";
import type { TokenStamp } from "../../shared/auth/token-claims.ts";
import { readTokenIssuer, unknownTokenError, verifyUserToken } from "../../shared/auth/tokens.ts";
import { createBatcher } from "../../shared/platform/concurrency/batcher.ts";
import type { StreamTop, TopicRef } from "../channels/topic-ref.ts";

/**
 * The user of a connection, and when its token was signed and expires. `sockets`: how many the user and the tenant may have
 * open, where the tenant has limits of its own.
 */
export type Identity = {
  userRef: TopicRef;
  tenantId: string;
  expiresAtMs: number;
  stamp: TokenStamp;
  sockets: { ofUser: number | undefined; ofTenant: number | undefined };
};

/** Resolves when it is the turn of a user whose token is verified. What is read of the user is read after it. */
export type AwaitTurn = (caller: { tenantId: string; user: string }) => Promise<void>;

/** A room that a user may read, and its top at that moment. */
export type Grant = { ref: TopicRef; top: StreamTop };

/** `tokensValidFromMs`: tokens that were signed before are revoked. */
export type UserAccess = { state: ConnectableState; membershipVersion: string; tokensValidFromMs: number };
export type Rights = UserAccess & { grants: Grant[] };

/** Who may connect, and who may read what. */
export type Policy = {
  /**
   * `origin`: of the page; null where there is none. @throws AppError `unauthorized`, `token_expired`, or `forbidden` for
   * a user who is locked or gone, and for a page that may not connect for the tenant.
   */
  authenticate(token: string, origin: string | null, awaitTurn?: AwaitTurn): Promise<Identity>;
  /** The state of a user and its most recently active rooms. */
  rightsOf(userId: string): Promise<Rights>;
  /** Of rooms by channel, those that the user may read. */
  findRooms(userId: string, channels: readonly string[]): Promise<Grant[]>;
  /** Of rooms by id, those that the user may read. */
  grantsOf(userId: string, roomIds: readonly string[]): Promise<Grant[]>;
  /** By user. A user who does not exist is absent. */
  userAccessOf(userIds: readonly string[]): Promise<Map<string, UserAccess>>;
};

/** Queries of one kind that run at once. Further requests share the next one. */
const QUERIES_AT_ONCE = 2;

/** The policy of tenants, users and memberships in Postgres. A mass reconnect shares its queries. */
export function createPolicy({
  db,
  sealKeys,
  rooms,
  allowedOrigins,
}: {
  db: Db;
  sealKeys: readonly SealKey[];
  rooms: number;
  /** For tenants without a list of their own. */
  allowedOrigins: readonly string[];
}): Policy {
  const readRightsOf = createBatcher(QUERIES_AT_ONCE, async (userIds) => {
    const rows = await readRights(db, userIds, rooms);
    return new Map(rows.map((row) => [row.user_id, row]));
  });
  const authenticate = createAuthentication(db, sealKeys, allowedOrigins);
  return {
    authenticate,
    async rightsOf(userId) {
      const row = await readRightsOf(userId);
      if (!row) return { state: "gone", membershipVersion: "", tokensValidFromMs: 0, grants: [] };
      return { ...presentAccess(row), grants: row.grants.map(presentGrant) };
    },
    async findRooms(userId, channels) {
      const addresses = channels.flatMap((channel) => parseRoomKey(channel) ?? []);
      if (addresses.length === 0) return [];
      return (await findGrants(db, userId, addresses)).map(presentGrant);
    },
    async grantsOf(userId, roomIds) {
      if (roomIds.length === 0) return [];
      return (await readGrants(db, userId, roomIds)).map(presentGrant);
    },
    async userAccessOf(userIds) {
      const rows = await readUserAccess(db, userIds);
      return new Map(rows.map((row) => [row.user_id, presentAccess(row)]));
    },
  };
}

function presentAccess({ state, membershipVersion, tokensValidFrom }: UserAccessRow): UserAccess {
  return { state, membershipVersion, tokensValidFromMs: tokensValidFrom.getTime() };
}

function presentGrant(row: GrantRow): Grant {
  return {
    ref: { kind: "room", id: row.room_id, channel: formatRoomKey(row) },
    top: { epoch: row.epoch, number: row.last_number },
  };
}

function createAuthentication(
  db: Db,
  sealKeys: readonly SealKey[],
  allowedOrigins: readonly string[],
): Policy["authenticate"] {
  const openKeys = createKeyOpener(sealKeys);
  const findTenant = createBatcher(QUERIES_AT_ONCE, async (slugs) => {
    const tenants = await findActiveTenants(db, slugs);
    return new Map(
      tenants.map((tenant) => [
        tenant.slug,
        { id: tenant.id, keys: openKeys(tenant), limits: tenantLimits.parse(tenant.limits) },
      ]),
    );
  });
  const findUser = createBatcher(QUERIES_AT_ONCE, async (keys) => {
    const rows = await findConnectables(db, keys.map(parseUserKey));
    return new Map(rows.map((row) => [formatUserKey(row.tenant_id, row.external_id), row]));
  });
  return async (token, origin, awaitTurn) => {
    const { tenant: slug } = readTokenIssuer(token);
    const tenant = slug === null ? undefined : await findTenant(slug);
    if (slug === null || !tenant) throw unknownTokenError();
    const claims = await verifyUserToken(tenant.keys, slug, token, Date.now());
    await awaitTurn?.({ tenantId: tenant.id, user: claims.user });
    const user = await findUser(formatUserKey(tenant.id, claims.user));
    if (!user) throw new AppError("unauthorized", "The token belongs to no known user.");
    if (origin !== null && !isTenantOrigin(origin, tenant.limits.allowedOrigins, allowedOrigins))
      throw new AppError("forbidden", "Pages of this origin may not act for this tenant.");
    if (!user.is_active) throw new AppError("forbidden", "The user is locked or gone.");
    if (!isHeldBy(user, claims.stamp))
      throw new AppError("forbidden", "The token was revoked, or is of a former user.");
    const userRef: TopicRef = { kind: "user", id: user.id, channel: `user:${claims.user}` };
    const { expiresAtMs, stamp } = claims;
    const sockets = { ofUser: tenant.limits.userSockets, ofTenant: tenant.limits.tenantSockets };
    return { userRef, tenantId: tenant.id, expiresAtMs, stamp, sockets };
  };
}

// The row id of a tenant has no space in it.
function formatUserKey(tenantId: string, user: string): string {
  return `${tenantId} ${user}`;
}

function parseUserKey(key: string): { tenantId: string; user: string } {
  const space = key.indexOf(" ");
  return { tenantId: key.slice(0, space), user: key.slice(space + 1) };
}
