import { MAX_PINS } from "../../contract/content/pin.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { mayDo, standingOf } from "../memberships/standing.ts";
import { SELECT_ENTRY, type EntryRow } from "../timeline/entries.ts";
import type { RelatedEvent } from "../acts/related-events.ts";

/** The pinned messages of a room, the one that was pinned last comes first. */
export function listPinned(db: Db, tenantId: string, roomId: string): Promise<EntryRow[]> {
  return rowsOf<EntryRow>(
    db,
    `${SELECT_ENTRY}
      where e.tenant_id = :tenantId and e.room_id = :roomId
        and e.number in (select p.number from message_states p where p.room_id = :roomId and p.pinned_number is not null)
      order by st.pinned_number desc limit ${MAX_PINS}`,
    { tenantId, roomId },
  );
}

/** The events of the pinned messages of a room, in the order of pinning; of those that are on Matrix. */
export function listPinnedEvents(db: Db, roomId: string): Promise<RelatedEvent[]> {
  return rowsOf<RelatedEvent>(
    db,
    `select e.entry_id as id, coalesce(m.event_id, e.event_id) as event_id
       from message_states p join timeline e on e.room_id = p.room_id and e.number = p.number
       left join messages m on m.id = e.entry_id
      where p.room_id = :roomId and p.pinned_number is not null order by p.pinned_number limit ${MAX_PINS}`,
    { roomId },
  );
}

/** Somebody wrote the list of a room's pinned messages on Matrix. `actorId`: null for an unknown person; `count`: how many it names. */
export type PinsOnMatrix = { roomId: string; actorId: string | null; count: number };

/** Makes the jobs due that write the list as it is here, where it names too many or is of somebody who may not pin here. */
export function notePins(pins: readonly PinsOnMatrix[]): Statement {
  return { sql: NOTE_PINS, bindings: { pins: JSON.stringify(pins) } };
}

const NOTE_PINS = `
  update rooms r set desired_version = desired_version + 1, next_attempt_at = now()
   where r.deleted_at is null and r.id in (
     select g."roomId" from jsonb_to_recordset(cast(:pins as jsonb)) as g("roomId" uuid, "actorId" uuid, count int)
       join rooms x on x.id = g."roomId"
       left join memberships p on p.room_id = x.id and p.user_id = g."actorId" and p.desired = 'in'
      where g.count > ${MAX_PINS} or not coalesce(${mayDo(standingOf("p", "x"), "pin")}, false))`;
