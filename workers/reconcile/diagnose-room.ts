import { z } from "zod";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import type { Role } from "../../shared/contract/roles.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";
import { buildPowerLevels, isSameLevels } from "../matrix/power-levels.ts";
import { getState } from "../matrix/rooms/state.ts";
import { EventType } from "../matrix/names.ts";
import { listJoined, listPresent } from "../matrix/rooms/members.ts";
import { findUnwantedUsers } from "./remove-unknown-users.ts";
import type { RoomSnapshot } from "../../shared/db/rooms/work-room.ts";

/** One thing that is not as the tenant wants it. `what` names it; `wanted` and `found` say how. */
export type Difference = {
  what:
    | "no Matrix room"
    | "observer is out"
    | "upgraded"
    | "encrypted"
    | "name"
    | "topic"
    | "power levels"
    | "member should be out"
    | "member should be in"
    | "stranger is in"
    | "gap open"
    | "sent but not seen"
    | "not published";
  wanted: unknown;
  found: unknown;
};

type Member = {
  user: string;
  matrix_user_id: string;
  role: Role;
  desired: "in" | "out";
  applied: "in" | "out";
};

const name = z.object({ name: z.string() });
const topic = z.object({ topic: z.string() });
const tombstone = z.object({ replacement_room: z.string() });

/**
 * Compares what the tenant wants of a room with what Matrix has, and our copy with itself. Changes nothing.
 * @throws MatrixFailure when the homeserver cannot be asked.
 */
export async function diagnoseRoom(
  db: Db,
  homeserver: Homeserver,
  room: RoomSnapshot,
): Promise<Difference[]> {
  const own = await diagnoseCopy(db, room.id);
  if (room.matrix_room_id === null)
    return [{ what: "no Matrix room", wanted: room.name, found: null }, ...own];
  try {
    return [
      ...(await diagnoseMatrix(db, homeserver, { ...room, matrix_room_id: room.matrix_room_id })),
      ...own,
    ];
  } catch (error) {
    if (!(error instanceof MatrixFailure && error.kind === "forbidden")) throw error;
    return [{ what: "observer is out", wanted: room.observer_matrix_id, found: null }, ...own];
  }
}

async function diagnoseMatrix(
  db: Db,
  homeserver: Homeserver,
  room: RoomSnapshot & { matrix_room_id: string },
): Promise<Difference[]> {
  const request = await homeserver.as(room.observer_matrix_id);
  const matrixRoomId = room.matrix_room_id;
  const state = (type: string) => getState(request, { matrixRoomId, type });
  const joined = new Set(await listJoined(request, matrixRoomId));
  const differences: Difference[] = [];
  const compare = (what: Difference["what"], wanted: unknown, found: unknown) => {
    if (wanted !== found) differences.push({ what, wanted, found });
  };
  compare(
    "upgraded",
    undefined,
    tombstone.safeParse(await state(EventType.RoomTombstone)).data?.replacement_room,
  );
  compare("encrypted", false, (await state(EventType.RoomEncryption)) !== null);
  compare("name", room.name, name.safeParse(await state(EventType.RoomName)).data?.name ?? null);
  // A topic that was taken away is an empty one on Matrix.
  compare("topic", room.topic ?? "", topic.safeParse(await state(EventType.RoomTopic)).data?.topic ?? "");
  const members = await listMembers(db, room.id);
  const levels = await state(EventType.RoomPowerLevels);
  const wanted = buildPowerLevels(
    room.observer_matrix_id,
    members
      .filter((member) => member.desired === "in" && joined.has(member.matrix_user_id))
      .map((member) => ({ matrixUserId: member.matrix_user_id, role: member.role })),
  );
  if (!isSameLevels(levels, wanted)) differences.push({ what: "power levels", wanted, found: levels });
  const unwanted = await findUnwantedUsers(db, room, await listPresent(request, matrixRoomId));
  return [...differences, ...compareMembers(members, joined, unwanted)];
}

function compareMembers(
  members: readonly Member[],
  joined: ReadonlySet<string>,
  unwanted: readonly string[],
): Difference[] {
  const known = new Set(members.map((member) => member.matrix_user_id));
  const strangers = unwanted.filter((matrixUserId) => !known.has(matrixUserId));
  const isWanted = (member: Member) => member.desired === "in" && member.role !== "guest";
  return [
    ...members
      .filter((member) => !isWanted(member) && joined.has(member.matrix_user_id))
      .map((member): Difference => ({ what: "member should be out", wanted: "out", found: member.user })),
    // With lazy joining, only who was joined already must be in.
    ...members
      .filter((member) => isWanted(member) && member.applied === "in" && !joined.has(member.matrix_user_id))
      .map((member): Difference => ({ what: "member should be in", wanted: "in", found: member.user })),
    ...strangers.map((stranger): Difference => ({ what: "stranger is in", wanted: null, found: stranger })),
  ];
}

function listMembers(db: Db, roomId: string): Promise<Member[]> {
  return rowsOf<Member>(
    db,
    `select u.external_id as user, u.matrix_user_id, s.role, s.desired, s.applied
       from memberships s join users u on u.id = s.user_id where s.room_id = ?`,
    [roomId],
  );
}

/** Our copy: what is not read, not seen, or not published yet. */
async function diagnoseCopy(db: Db, roomId: string): Promise<Difference[]> {
  const rows = await rowsOf<{
    has_gap: boolean;
    unseen: number;
    last_number: number;
    published_number: number;
  }>(
    db,
    `select t.gap_from is not null as has_gap, t.last_number, t.published_number,
            (select count(*) from messages m where m.room_id = t.room_id and m.open and m.status = 'sent'
                and m.sent_at < now() - interval '30 seconds') as unseen
       from room_timeline t where t.room_id = ?`,
    [roomId],
  );
  const row = rows[0];
  if (!row) return [];
  const differences: Difference[] = [];
  if (row.has_gap) differences.push({ what: "gap open", wanted: false, found: true });
  if (row.unseen > 0) differences.push({ what: "sent but not seen", wanted: 0, found: row.unseen });
  if (row.published_number < row.last_number) {
    differences.push({ what: "not published", wanted: row.last_number, found: row.published_number });
  }
  return differences;
}

/**
 * Makes everything about a room due again, from what Matrix really has: the jobs put it right, as always. Applied
 * states are corrected first, since the jobs believe them.
 */
export async function makeRepairDue(
  db: Db,
  room: RoomSnapshot,
  differences: readonly Difference[],
): Promise<void> {
  const users = (what: Difference["what"]) =>
    differences.filter((one) => one.what === what).map((one) => String(one.found));
  const has = (what: Difference["what"]) => differences.some((one) => one.what === what);
  const successor = differences.find((one) => one.what === "upgraded")?.found;
  await db.raw(
    `with shown as (
       update memberships s
          set applied = case when u.external_id = any(:outside) then 'out' else 'in' end, applied_version = s.version - 1
         from users u
        where u.id = s.user_id and s.room_id = :id
          and (u.external_id = any(:outside) or u.external_id = any(:inside))
     ), reread as (
       update room_timeline t set gap_from = coalesce(t.gap_from, ''), gap_to = coalesce(t.gap_to, p.since),
              gap_next_attempt_at = now()
         from rooms r join sync_positions p on p.observer_id = r.observer_id
        where t.room_id = :id and r.id = :id and p.since is not null and :reread
     )
     update rooms set desired_version = desired_version + 1, next_attempt_at = now(),
            members_desired_version = members_desired_version + 1, members_next_attempt_at = now(),
            strangers_seen_at = case when :strangersAreIn then now() else strangers_seen_at end,
            observer_left_at = case when :observerIsOut then coalesce(observer_left_at, now()) end,
            successor_matrix_room_id = coalesce(cast(:successor as text), successor_matrix_room_id)
      where id = :id`,
    {
      id: room.id,
      inside: users("member should be out"),
      outside: users("member should be in"),
      reread: has("gap open") || has("sent but not seen"),
      observerIsOut: has("observer is out"),
      strangersAreIn: has("stranger is in"),
      successor: typeof successor === "string" ? successor : null,
    },
  );
}
