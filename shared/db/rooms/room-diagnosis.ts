import type { Role } from "../../contract/roles.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { membersDue } from "../memberships/members-due.ts";
import { LEVEL } from "../memberships/standing.ts";
import { PROVISIONING_DUE } from "../provisioning-due.ts";

/** What the operators' commands read of a room, and how they make it due for a repair. */

export type DiagnosedMember = {
  user: string;
  matrix_user_id: string;
  role: Role;
  level: number;
  desired: "in" | "out";
  applied: "in" | "out";
};

/** Every membership of a room, also ended ones. */
export function listDiagnosedMembers(db: Db, roomId: string): Promise<DiagnosedMember[]> {
  return rowsOf<DiagnosedMember>(
    db,
    `select u.external_id as user, u.matrix_user_id, s.role, ${LEVEL} as level, s.desired, s.applied
       from memberships s join users u on u.id = s.user_id where s.room_id = ?`,
    [roomId],
  );
}

/** `unseen`: messages that the homeserver accepted 30 s ago or earlier and no observer has read. */
export type TimelineState = {
  has_gap: boolean;
  unseen: number;
  /** Marked as unpublished for longer than a sweeper needs. */
  is_unpublished: boolean;
};

export async function findTimelineState(db: Db, roomId: string): Promise<TimelineState | undefined> {
  const rows = await rowsOf<TimelineState>(
    db,
    `select t.gap_from is not null as has_gap,
            exists (select 1 from unpublished_rooms u where u.room_id = t.room_id and u.since < now() - interval '5 seconds') as is_unpublished,
            (select count(*) from messages m where m.room_id = t.room_id and m.open and m.status = 'sent'
                and m.sent_at < now() - interval '30 seconds') as unseen
       from room_timeline t where t.room_id = ?`,
    [roomId],
  );
  return rows[0];
}

/** `inside`, `outside`: names of users who are on Matrix and should not be, and the reverse. */
export type Repair = {
  inside: readonly string[];
  outside: readonly string[];
  /** Members who are banned on Matrix, with the event of the ban: all of them are undone. */
  bans: readonly { user: string; eventId: string | null }[];
  rereads: boolean;
  observerIsOut: boolean;
  hasUnknownUsers: boolean;
  successor: string | null;
  /** The Matrix room cannot be brought to what the tenant wants: the room gets another one. */
  isBeyondRepair: boolean;
};

/** Corrects the applied states of a room, which the jobs rely on, and makes everything about the room due. */
export async function makeRepairDue(db: Db, roomId: string, repair: Repair): Promise<void> {
  await execute(
    db,
    `with shown as (
       update memberships s
          set applied = case when u.external_id = any(:outside) then 'out' else 'in' end, applied_version = s.version - 1
         from users u
        where u.id = s.user_id and s.room_id = :roomId
          and (u.external_id = any(:outside) or u.external_id = any(:inside))
     ), banned as (
       update memberships s set is_banned = true, removal_event_id = null, settled_removal_id = b.event_id,
              applied_version = s.version - 1
         from users u join unnest(cast(:banned as text[]), cast(:banEvents as text[])) as b(name, event_id) on b.name = u.external_id
        where u.id = s.user_id and s.room_id = :roomId and s.desired = 'in'
     ), reread as (
       update room_timeline t set gap_from = coalesce(t.gap_from, ''), gap_to = coalesce(t.gap_to, p.since),
              gap_next_attempt_at = now()
         from rooms r join sync_positions p on p.observer_id = r.observer_id
        where t.room_id = :roomId and r.id = :roomId and p.since is not null and :rereads
     )
     update rooms set ${PROVISIONING_DUE}, ${membersDue()},
            strangers_seen_at = case when :hasUnknownUsers then now() else strangers_seen_at end,
            -- Whether it is back, the job that brings it back says.
            observer_left_at = case when :observerIsOut then coalesce(observer_left_at, now()) else observer_left_at end,
            -- A room is never its own successor: the job that follows it creates one.
            successor_matrix_room_id =
              coalesce(cast(:successor as text), case when :isBeyondRepair then matrix_room_id end, successor_matrix_room_id)
      where id = :roomId`,
    {
      roomId,
      ...repair,
      inside: [...repair.inside],
      outside: [...repair.outside],
      banned: repair.bans.map(({ user }) => user),
      banEvents: repair.bans.map(({ eventId }) => eventId),
    },
  );
}

/** Whether a job about a room is due, now or later. */
export async function hasDueWork(db: Db, roomId: string): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select 1 as due from rooms r join room_timeline t on t.room_id = r.id
      where r.id = ? and (r.next_attempt_at is not null or r.members_next_attempt_at is not null
         or t.gap_next_attempt_at is not null)`,
    [roomId],
  );
  return rows.length > 0;
}
