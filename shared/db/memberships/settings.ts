import type { RoomSettings } from "../../contract/resources.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transact } from "../connection/transaction.ts";
import { enqueueUserEvents } from "../users/user-event-outbox.ts";

/** What a member wants of a room for herself. No other member sees it, and Matrix does not have it. */
export type SettingsRow = {
  notify: RoomSettings["notify"];
  muted_until: Date | null;
  pinned: boolean;
  archived: boolean;
};

const CHANGE = `
  update memberships s set notify = :notify, muted_until = :mutedUntil, pinned = :pinned, archived = :archived
   where s.room_id = :roomId and s.user_id = :userId and s.desired = 'in'
     and (s.notify, s.muted_until, s.pinned, s.archived) is distinct from
         (:notify, cast(:mutedUntil as timestamptz), cast(:pinned as boolean), cast(:archived as boolean))
  returning s.room_id`;

/** Changes a member's settings of a room, and enqueues them for the member's other devices. Returns whether they changed. */
export function changeSettings(
  db: Db,
  { tenantId, roomId, userId }: { tenantId: string; roomId: string; userId: string },
  settings: RoomSettings,
): Promise<boolean> {
  return transact(db, async (trx) => {
    const changed = await rowsOf(trx, CHANGE, { roomId, userId, ...settings });
    if (changed.length === 0) return false;
    await enqueueUserEvents(trx, [{ tenantId, kind: "settings", userId, roomId }]);
    return true;
  });
}

export function presentSettings(row: SettingsRow): RoomSettings {
  return {
    notify: row.notify,
    mutedUntil: row.muted_until?.toISOString() ?? null,
    pinned: row.pinned,
    archived: row.archived,
  };
}
