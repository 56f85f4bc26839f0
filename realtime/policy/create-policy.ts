import { parseRoomKey } from "../../shared/contract/names.ts";
import {
  findGrants,
  readGrants,
  readRights,
  readUserAccess,
} from "../../shared/db/memberships/subscription-rights.ts";
import { createAuthentication, type AuthenticationOptions } from "./authentication.ts";
import type { Policy } from "./policy.ts";
import { presentAccess, presentGrant, presentRights } from "./present.ts";
import { createQueryBatcher } from "./query-batcher.ts";

/** The policy of tenants, users and memberships in Postgres. A mass reconnect shares its queries. */
export function createPolicy(options: AuthenticationOptions): Policy {
  const { db, rooms } = options;
  const readRightsOf = createQueryBatcher(async (userIds) => {
    const rows = await readRights(db, userIds, rooms);
    return new Map(rows.map((row) => [row.user_id, row]));
  });
  return {
    ...createAuthentication(options),
    async rightsOf(userId) {
      const row = await readRightsOf(userId);
      return row
        ? presentRights(row)
        : { state: "gone", membershipVersion: "", tokensValidFromMs: 0, grants: [] };
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
