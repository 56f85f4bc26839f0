import { execute, type Db } from "../../connection/open.ts";
import { membersDue } from "../../memberships/members-due.ts";
import { PROVISIONING_CHANGED } from "../../provisioning-due.ts";
import type { DesiredRoom } from "./desired-room.ts";

/** A locked room: all its fields, as they are to be, and those of them that get another value. */
export type RoomChange = { id: string; fields: Required<DesiredRoom>; changed: Partial<DesiredRoom> };

/** Changes the desired state of locked rooms, due at once where Matrix shows it. */
export async function changeRooms(trx: Db, changes: readonly RoomChange[]): Promise<void> {
  if (changes.length === 0) return;
  const rows = changes.map(({ id, fields: { slowModeS, retentionDays, ...fields }, changed }) => ({
    ...{ id, ...fields, slow_mode_s: slowModeS, retention_days: retentionDays },
    // Unknown users may be in a public room: they are removed from one that becomes private.
    is_closed: changed.visibility === "private",
    has_other_levels: changed.posting !== undefined,
    is_lowered: changed.posting === "speakers",
  }));
  await execute(trx, CHANGE, { rooms: JSON.stringify(rows) });
}

const CHANGE = `
  update rooms r
     set name = w.name, topic = w.topic, avatar = w.avatar, visibility = w.visibility, join_rule = w."join", posting = w.posting,
         slow_mode_s = w.slow_mode_s, retention_days = w.retention_days, ${PROVISIONING_CHANGED},
         strangers_seen_at = case when w.is_closed then now() else strangers_seen_at end,
         described_at = now(), rights_lowered_at = case when w.is_lowered then now() else rights_lowered_at end,
         ${membersDue({ when: "(w.is_closed or w.has_other_levels)" })}
    from jsonb_to_recordset(cast(:rooms as jsonb))
      as w(id uuid, name text, topic text, avatar text, visibility text, "join" text, posting text, slow_mode_s int, retention_days int,
           is_closed boolean, has_other_levels boolean, is_lowered boolean)
   where r.id = w.id`;
