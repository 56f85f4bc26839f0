import { VIEW_STALE } from "../connection/failures.ts";
import type { Statement } from "../connection/pipelined-transaction.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { MatrixAct } from "./append-matrix-act.ts";

/*
 * An act from Matrix whose target is not here waits in `waiting_acts`, without a number: `appendMatrixAct` puts it there. It is
 * taken out when its target comes: by whoever reads the target, in the same transaction, or later by `adopt-waiting.ts`.
 */

/** `act`: as it was given. */
export type WaitingAct = { room_id: string; event_id: string; target_event_id: string; act: MatrixAct };

/**
 * Takes acts out, or drops them. Requires that each waits still: one that was withdrawn, or that somebody else has taken, is not
 * carried out from an older view: VIEW_STALE. Returns nothing.
 */
export function takeWaiting(acts: readonly { roomId: string; eventId: string }[]): Statement {
  return { sql: TAKE, bindings: { acts: JSON.stringify(acts) } };
}

const TAKE = `
  with given as (
    select distinct "roomId", "eventId" from jsonb_to_recordset(cast(:acts as jsonb)) as g("roomId" uuid, "eventId" text)
  ), taken as (
    delete from waiting_acts w using given g where w.room_id = g."roomId" and w.event_id = g."eventId" returning 1
  )
  select 1 where not omc_require((select count(*) from taken) = (select count(*) from given), '${VIEW_STALE}')`;

/** Acts whose targets are here by now, the oldest first, from rooms without a gap: the filling of a gap takes its own. */
export function findAdoptable(db: Db, limit: number): Promise<(WaitingAct & { tenant_id: string })[]> {
  return rowsOf(db, ADOPTABLE, { limit });
}

const ADOPTABLE = `
  select w.room_id, w.tenant_id, w.event_id, w.target_event_id, w.act
    from waiting_acts w join room_timeline t on t.room_id = w.room_id and t.gap_from is null
   where ${isHere("w.room_id", "w.target_event_id")}
   order by w.since limit :limit`;

/** Whether an event is a message or an act that is here. `room` and `event`: SQL expressions. */
export function isHere(room: string, event: string): string {
  return `(exists (select 1 from timeline x where x.room_id = ${room} and x.event_id = ${event})
        or exists (select 1 from reaction_events x where x.room_id = ${room} and x.event_id = ${event})
        or exists (select 1 from messages x where x.room_id = ${room} and x.seen_event_id = ${event})
        or exists (select 1 from messages x where x.room_id = ${room} and x.open and x.event_id = ${event}))`;
}

/** Drops acts that have waited for longer than `age` (an interval), or whose room is deleted. Returns how many. */
export async function dropOldWaiting(db: Db, age: string, limit: number): Promise<number> {
  return (await rowsOf(db, DROP_OLD, { age, limit })).length;
}

const DROP_OLD = `
  delete from waiting_acts w using (
    select x.room_id, x.event_id from waiting_acts x
     where x.since < now() - cast(:age as interval)
        or not exists (select 1 from rooms r where r.id = x.room_id and r.deleted_at is null)
     limit :limit) old
   where w.room_id = old.room_id and w.event_id = old.event_id
  returning 1`;
