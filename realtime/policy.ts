import {
  findConnectable,
  findGrants,
  readGrants,
  readRights,
  readStandings,
  type GrantRow,
} from "../shared/db/rights.ts";
import type { Db } from "../shared/db/open.ts";
import { findTenantBySlug, openTokenKeys } from "../shared/db/tenants.ts";
import { AppError } from "../shared/errors.ts";
import { formatRoomKey, parseRoomKey } from "../shared/names.ts";
import type { SealKey } from "../shared/seal.ts";
import { readTokenTenant, verifyUserToken } from "../shared/tokens.ts";
import type { StreamTop, TopicRef } from "./topic.ts";

/** Whose connection it is, and until when its token is good. */
export type Identity = { userRef: TopicRef; expiresAtMs: number };

/** A room that a user may hear, and where it stood when that was read. */
export type Grant = { ref: TopicRef; top: StreamTop };

export type Standing = { isActive: boolean; fingerprint: string };
export type Rights = Standing & { grants: Grant[] };

/** Who may connect, and who may hear what. */
export type Policy = {
  /** @throws AppError `unauthorized`, `token_expired`, or `forbidden` for a user who is locked or gone. */
  authenticate(token: string): Promise<Identity>;
  /** A user's standing and most recently active rooms. */
  rightsOf(userId: string): Promise<Rights>;
  /** Of rooms by channel, those that the user may hear. */
  findRooms(userId: string, channels: readonly string[]): Promise<Grant[]>;
  /** Of rooms by id, those that the user may hear. */
  grantsOf(userId: string, roomIds: readonly string[]): Promise<Grant[]>;
  /** By user; one who does not exist is absent. */
  standingsOf(userIds: readonly string[]): Promise<Map<string, Standing>>;
};

/** The policy of tenants, users and memberships in Postgres. */
export function createPolicy({
  db,
  sealKeys,
  rooms,
}: {
  db: Db;
  sealKeys: readonly SealKey[];
  rooms: number;
}): Policy {
  return {
    authenticate: (token) => authenticate(db, sealKeys, token),
    async rightsOf(userId) {
      const row = await readRights(db, userId, rooms);
      if (!row) return { isActive: false, fingerprint: "", grants: [] };
      return { isActive: row.is_active, fingerprint: row.fingerprint, grants: row.grants.map(presentGrant) };
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
    async standingsOf(userIds) {
      const rows = await readStandings(db, userIds);
      return new Map(
        rows.map((row) => [row.user_id, { isActive: row.is_active, fingerprint: row.fingerprint }]),
      );
    },
  };
}

function presentGrant(row: GrantRow): Grant {
  return {
    ref: { kind: "room", id: row.room_id, channel: formatRoomKey(row) },
    top: { epoch: row.epoch, number: row.last_number },
  };
}

async function authenticate(db: Db, sealKeys: readonly SealKey[], token: string): Promise<Identity> {
  const slug = readTokenTenant(token);
  const tenant = slug === null ? undefined : await findTenantBySlug(db, slug);
  if (slug === null || tenant?.status !== "active")
    throw new AppError("unauthorized", "The token is of no active tenant.");
  const claims = await verifyUserToken(openTokenKeys(sealKeys, tenant), slug, token, Date.now());
  const user = await findConnectable(db, tenant.id, claims.user);
  if (!user) throw new AppError("unauthorized", "The token is of no known user.");
  if (!user.is_active) throw new AppError("forbidden", "The user is locked or gone.");
  return {
    userRef: { kind: "user", id: user.id, channel: `user:${claims.user}` },
    expiresAtMs: claims.expiresAtMs,
  };
}
