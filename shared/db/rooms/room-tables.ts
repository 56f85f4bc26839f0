import { rowsOf, type Db } from "../connection/open.ts";

const MEMBERS_SHOWN = 200;
const MESSAGES_SHOWN = 50;

/** A row as it stands in its table, for operators. */
export type Row = Record<string, unknown>;

/** Everything that the tables hold of a room beside its own row: 200 members and 50 open messages at most. */
export async function readRoomTables(
  db: Db,
  tenantId: string,
  room: { id: string; observer_id: string },
): Promise<{
  outbox: Row | undefined;
  timeline: Row | undefined;
  observer: Row | undefined;
  members: Row[];
  open: Row[];
}> {
  const ofRoom = [tenantId, room.id];
  const [outbox] = await rowsOf<Row>(
    db,
    "select * from room_outbox where tenant_id = ? and room_id = ?",
    ofRoom,
  );
  const [timeline] = await rowsOf<Row>(
    db,
    "select * from room_timeline where tenant_id = ? and room_id = ?",
    ofRoom,
  );
  const [observer] = await rowsOf<Row>(
    db,
    `select o.matrix_user_id, o.is_registered, p.lease_until, p.last_success_at
       from observers o left join sync_positions p on p.observer_id = o.id where o.id = ?`,
    [room.observer_id],
  );
  const members = await rowsOf<Row>(
    db,
    `select u.external_id as user, u.matrix_user_id, u.status, s.role, s.desired, s.version, s.applied, s.applied_version,
            s.applied_level, s.error
       from memberships s join users u on u.id = s.user_id
      where s.tenant_id = ? and s.room_id = ? order by u.external_id limit ?`,
    [...ofRoom, MEMBERS_SHOWN],
  );
  const open = await rowsOf<Row>(
    db,
    `select id, order_number, status, attempts, error_code, accepted_at from messages
      where tenant_id = ? and room_id = ? and open order by order_number limit ?`,
    [...ofRoom, MESSAGES_SHOWN],
  );
  return { outbox, timeline, observer, members, open };
}
