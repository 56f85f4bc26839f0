import { formatRoomKey } from "../../shared/contract/names.ts";
import type { GrantRow, RightsRow, UserAccessRow } from "../../shared/db/memberships/subscription-rights.ts";
import type { Grant, Rights, UserAccess } from "./policy.ts";

export function presentRights(row: RightsRow): Rights {
  return { ...presentAccess(row), grants: row.grants.map(presentGrant) };
}

export function presentAccess({ state, membershipVersion, tokensValidFrom }: UserAccessRow): UserAccess {
  return { state, membershipVersion, tokensValidFromMs: tokensValidFrom.getTime() };
}

export function presentGrant(row: GrantRow): Grant {
  const channel = formatRoomKey(row);
  return {
    ref: { kind: "room", id: row.room_id, channel },
    top: {
      ...{ epoch: row.epoch, scrubs: row.scrubs, number: row.last_number, sentUpTo: row.sent_number },
      ...{ members: row.member_count, channel },
    },
  };
}
