import type { Statement } from "../connection/pipelined-transaction.ts";

/** Notes that we have redacted events on Matrix. Those that are no reactions are left out. */
export function noteRemovedReactions(events: readonly { roomId: string; eventId: string }[]): Statement {
  return { sql: NOTE_REMOVED, bindings: { events: JSON.stringify(events) } };
}

const NOTE_REMOVED = `
  update reaction_events x set removed = true from jsonb_to_recordset(cast(:events as jsonb)) as g("roomId" uuid, "eventId" text)
   where x.room_id = g."roomId" and x.event_id = g."eventId"`;
