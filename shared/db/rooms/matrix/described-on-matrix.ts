import type { Statement } from "../../connection/pipelined-transaction.ts";
import { UNREAD_ENTRY_TYPES } from "../../../contract/content/index.ts";
import { newId } from "../../../platform/ids.ts";
import { mayDo, standingOf } from "../../memberships/standing.ts";
import { appendingCtes, SELECT_APPENDED } from "../../timeline/append.ts";

/** A person gave a room another name or topic on Matrix. */
export type DescriptionOnMatrix = {
  roomId: string;
  actorId: string;
  field: "name" | "topic";
  value: string | null;
  at: string;
};

/**
 * Takes over what a person whose role allows it changed, unless the room was changed here since; otherwise it is put back. The
 * room's timeline is locked. Its provisioning is due in both cases. Returns AppendedRow.
 */
export function takeDescription(change: DescriptionOnMatrix): Statement {
  return {
    sql: TAKE,
    bindings: { change: JSON.stringify({ ...change, id: newId() }), unread: [...UNREAD_ENTRY_TYPES] },
  };
}

const TAKE = `
  with g as materialized (
    select g.*, u.external_id as by,
           coalesce(${mayDo(standingOf("p", "r"), "describe")}, false) and coalesce(r.described_at < g.at, true) as is_taken
      from jsonb_to_record(cast(:change as jsonb)) as g(id uuid, "roomId" uuid, "actorId" uuid, field text, value text, at timestamptz)
      join rooms r on r.id = g."roomId" and r.deleted_at is null
      join users u on u.id = g."actorId" and u.deleted_at is null
      left join memberships p on p.room_id = r.id and p.user_id = u.id and p.desired = 'in'
  ), changed as (
    update rooms r
       set name = case when g.is_taken and g.field = 'name' then g.value else r.name end,
           topic = case when g.is_taken and g.field = 'topic' then g.value else r.topic end,
           described_at = case when g.is_taken then g.at else r.described_at end,
           desired_version = r.desired_version + 1, next_attempt_at = now()
      from g
     where r.id = g."roomId" and g.value is distinct from case when g.field = 'name' then r.name else r.topic end
    returning r.id
  ), ${appendingCtes(`
    select g."roomId" as room_id, 1 as position, g.id as entry_id, cast(null as text) as event_id, 'room.changed' as type,
           cast(null as uuid) as sender_id, cast(null as text) as sender_name, cast(null as uuid) as sender_ref, cast(null as text) as client_id,
           cast(null as uuid) as relates_to, jsonb_build_object('changed', jsonb_build_object(g.field, g.value), 'by', g.by) as content,
           cast(null as timestamptz) as at, 1 as place, cast(null as bigint) as message_place, false as scrubs
      from g join changed on changed.id = g."roomId" where g.is_taken`)}
  ${SELECT_APPENDED}`;
