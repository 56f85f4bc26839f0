import { rolesAllowed } from "../../contract/permissions.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";

/**
 * An unknown user is on Matrix in a room and is no member there. `rooms.strangers_seen_at` is the time at which one was
 * last seen; the membership job looks for them then, and clears it when none is left.
 */

/** When an unknown user was last seen in a room, as Postgres writes it, to compare; null when all are removed. */
export async function findUnknownUsersSeenAt(db: Db, roomId: string): Promise<string | null> {
  const rows = await rowsOf<{ seen_at: string }>(
    db,
    "select strangers_seen_at::text as seen_at from rooms where id = ? and strangers_seen_at is not null",
    [roomId],
  );
  return rows[0]?.seen_at ?? null;
}

/** Records that a room has no unknown user left. One who was seen after `seenAt` is looked for in another run. */
export async function markUnknownUsersRemoved(db: Db, roomId: string, seenAt: string): Promise<void> {
  await execute(
    db,
    "update rooms set strangers_seen_at = null where id = ? and strangers_seen_at <= cast(? as timestamptz)",
    [roomId, seenAt],
  );
}

/**
 * Returns those of some Matrix ids that may not be in a room. A user of the tenant must be a member who may react. A user
 * that the tenant does not know may be in a public room, or was there when the room was adopted. The observer is never returned.
 */
export async function findUnknownUsers(
  db: Db,
  room: { id: string; observer_matrix_id: string },
  matrixUserIds: readonly string[],
): Promise<string[]> {
  const rows = await rowsOf<{ matrix_user_id: string }>(
    db,
    `select p.matrix_user_id
       from rooms r cross join unnest(cast(:matrixUserIds as text[])) as p(matrix_user_id)
       left join users u on u.matrix_user_id = p.matrix_user_id and u.tenant_id = r.tenant_id
       left join memberships s
         on s.room_id = r.id and s.user_id = u.id and s.desired = 'in' and (s.role = any(:joining) or r.kind = 'direct')
      where r.id = :roomId and s.user_id is null and p.matrix_user_id <> :observer
        and (u.id is not null or r.visibility = 'private' and not exists (
          select 1 from adopted_people a where a.room_id = r.id and a.matrix_user_id = p.matrix_user_id))`,
    {
      roomId: room.id,
      observer: room.observer_matrix_id,
      matrixUserIds,
      joining: [...rolesAllowed("react")],
    },
  );
  return rows.map(({ matrix_user_id: matrixUserId }) => matrixUserId);
}
