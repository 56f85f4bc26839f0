import type { DiagnosedMember } from "../../../shared/db/rooms/room-diagnosis.ts";
import { Membership } from "../../matrix/names.ts";
import type { PresentMember } from "../../matrix/rooms/members.ts";
import type { Difference } from "../configuration/difference.ts";

/** Members who are banned on Matrix. Whom the tenant does not want in the room may be banned there. */
export function compareBans(
  members: readonly DiagnosedMember[],
  present: readonly PresentMember[],
): Difference[] {
  const bans = new Map(
    present.flatMap(({ matrixUserId, membership, eventId }) =>
      membership === Membership.Ban ? [[matrixUserId, eventId]] : [],
    ),
  );
  return members
    .filter((member) => member.desired === "in" && bans.has(member.matrix_user_id))
    .map(({ user, matrix_user_id: matrixUserId }) => ({
      what: "member is banned",
      wanted: "in",
      found: user,
      event: bans.get(matrixUserId) ?? null,
    }));
}
