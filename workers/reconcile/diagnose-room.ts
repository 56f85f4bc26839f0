import { isOnMatrix } from "../../shared/contract/permissions.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findUnknownUsers } from "../../shared/db/memberships/unknown-users.ts";
import {
  findTimelineState,
  listDiagnosedMembers,
  makeRepairDue,
  type DiagnosedMember,
} from "../../shared/db/rooms/room-diagnosis.ts";
import { unlessForbidden } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { listJoined, listMemberships, presentOf } from "../matrix/rooms/members.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/room-snapshot.ts";
import { comparePower, compareState } from "./configuration/compare-configuration.ts";
import type { Difference } from "./configuration/difference.ts";
import { diagnoseObserver } from "./observer/diagnose-observer.ts";
import { compareBans } from "./removals/compare-bans.ts";

/**
 * Compares a room on Matrix with what the tenant wants, and our tables with what Matrix showed. Changes nothing.
 * @throws MatrixFailure when the homeserver does not answer.
 */
export async function diagnoseRoom(
  db: Db,
  homeserver: Homeserver,
  room: RoomSnapshot,
): Promise<Difference[]> {
  const own = await diagnoseTimeline(db, room.id);
  if (room.matrix_room_id === null)
    return [{ what: "no Matrix room", wanted: room.name, found: null }, ...own];
  const existing = { ...room, matrix_room_id: room.matrix_room_id };
  const found = await unlessForbidden(diagnoseMatrix(db, homeserver, existing));
  const isOut: Difference = { what: "observer is out", wanted: room.observer_matrix_id, found: null };
  return [...(found ?? [isOut]), ...own];
}

async function diagnoseMatrix(
  db: Db,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
): Promise<Difference[]> {
  const request = await homeserver.as(room.observer_matrix_id);
  const matrixRoomId = room.matrix_room_id;
  const outside = await diagnoseObserver(db, homeserver, room);
  if (outside !== null) return [outside];
  const joined = new Set(await listJoined(request, matrixRoomId));
  const members = await listDiagnosedMembers(db, room.id);
  const configuration = [
    ...(await compareState(request, room, homeserver.serverName)),
    ...(await comparePower(
      request,
      room,
      members.filter((member) => member.desired === "in" && joined.has(member.matrix_user_id)),
    )),
  ];
  const present = await listMemberships(request, matrixRoomId);
  const unwanted = await findUnknownUsers(db, room, presentOf(present));
  const bans = compareBans(members, present);
  const banned = new Set(bans.map(({ found }) => found));
  const others = members.filter(({ user }) => !banned.has(user));
  return [...configuration, ...compareMembers(room, others, joined, unwanted), ...bans];
}

function compareMembers(
  room: Pick<RoomSnapshot, "kind">,
  members: readonly DiagnosedMember[],
  joined: ReadonlySet<string>,
  unwanted: readonly string[],
): Difference[] {
  const known = new Set(members.map((member) => member.matrix_user_id));
  const unknownUsers = unwanted.filter((matrixUserId) => !known.has(matrixUserId));
  const isWanted = (member: DiagnosedMember) => member.desired === "in" && isOnMatrix(member.role, room);
  return [
    ...members
      .filter((member) => !isWanted(member) && joined.has(member.matrix_user_id))
      .map((member): Difference => ({ what: "member should be out", wanted: "out", found: member.user })),
    // With lazy joins, only a member who was joined before must be in.
    ...members
      .filter((member) => isWanted(member) && member.applied === "in" && !joined.has(member.matrix_user_id))
      .map((member): Difference => ({ what: "member should be in", wanted: "in", found: member.user })),
    ...unknownUsers.map((found): Difference => ({ what: "stranger is in", wanted: null, found })),
  ];
}

/** What of the room is not read, not seen, or not published yet. */
async function diagnoseTimeline(db: Db, roomId: string): Promise<Difference[]> {
  const row = await findTimelineState(db, roomId);
  if (!row) return [];
  const differences: Difference[] = [];
  if (row.has_gap) differences.push({ what: "gap open", wanted: false, found: true });
  if (row.unseen > 0) differences.push({ what: "sent but not seen", wanted: 0, found: row.unseen });
  if (row.is_unpublished) differences.push({ what: "not published", wanted: false, found: true });
  return differences;
}

/** Corrects what our tables say of the room on Matrix, and makes everything about the room due: the jobs repair it. */
export async function repairRoom(db: Db, roomId: string, differences: readonly Difference[]): Promise<void> {
  const users = (what: Difference["what"]) =>
    differences.filter((one) => one.what === what).map((one) => String(one.found));
  const has = (what: Difference["what"]) => differences.some((one) => one.what === what);
  const successor = differences.find((one) => one.what === "upgraded")?.found;
  await makeRepairDue(db, roomId, {
    inside: users("member should be out"),
    outside: users("member should be in"),
    rereads: has("gap open") || has("sent but not seen"),
    bans: differences.flatMap(({ what, found, event = null }) =>
      what === "member is banned" ? [{ user: String(found), eventId: event }] : [],
    ),
    observerIsOut: has("observer is out") || has("observer cannot come back") || has("Matrix room is gone"),
    hasUnknownUsers: has("stranger is in"),
    successor: typeof successor === "string" ? successor : null,
    isBeyondRepair:
      has("observer cannot come back") || has("power cannot be taken from") || has("observer lacks power"),
  });
}
