import { rowsOf, type Db } from "../connection/open.ts";
import { readAdoption } from "./matrix/adoption.ts";
import { describeFailedTry } from "../messages/dead/failures-in-words.ts";

const MEMBERS_SHOWN = 200;
const MESSAGES_SHOWN = 50;
const DEAD_SHOWN = 20;

/** A row as it stands in its table, for operators. */
export type Row = Record<string, unknown>;

/**
 * Everything that the tables hold of a room beside its own row: at most 200 members, the 50 oldest open messages and the
 * 20 newest dead ones, each message with its failed tries.
 */
export async function readRoomTables(
  db: Db,
  tenantId: string,
  room: { id: string; observer_id: string },
): Promise<{
  outbox: Row | undefined;
  timeline: Row | undefined;
  /** How far the history of an adopted Matrix room is read; null for any other room. */
  adoption: Row | null;
  observer: Row | undefined;
  members: Row[];
  open: Row[];
  dead: Row[];
}> {
  const ofRoom = [tenantId, room.id];
  const [outbox] = await rowsOf<Row>(
    db,
    "select * from room_outbox where tenant_id = ? and room_id = ?",
    ofRoom,
  );
  const [timeline] = await rowsOf<Row>(
    db,
    `select t.*, m.sent_number, m.closed_count from room_timeline t left join room_mirrors m on m.room_id = t.room_id
      where t.tenant_id = ? and t.room_id = ?`,
    ofRoom,
  );
  const adoption = await readAdoption(db, room.id);
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
  const open = await rowsOf<TriedMessage>(
    db,
    `select m.id, m.order_number, m.status, m.accepted_at, ${FAILED_TRIES} from messages m
      where m.tenant_id = ? and m.room_id = ? and m.open order by m.order_number limit ?`,
    [...ofRoom, MESSAGES_SHOWN],
  );
  const dead = await rowsOf<TriedMessage>(
    db,
    `select m.id, m.order_number, m.status, m.accepted_at, m.error_code, m.error_message, ${FAILED_TRIES} from messages m
      where m.tenant_id = ? and m.room_id = ? and m.error_code is not null and m.status = 'dead' order by m.order_number desc limit ?`,
    [...ofRoom, DEAD_SHOWN],
  );
  return { outbox, timeline, adoption, observer, members, open: open.map(present), dead: dead.map(present) };
}

type TriedMessage = Row & { last_failure: { at: string; failure: string; detail: string } | null };

/** Of a message `m`: how many tries failed, and the last of them. The records are deleted after 30 days. */
const FAILED_TRIES = `
  (select count(*) from delivery_attempts a where a.message_id = m.id) as failed_tries,
  (select json_build_object('at', a.at, 'failure', a.failure, 'detail', a.detail) from delivery_attempts a
    where a.message_id = m.id order by a.at desc limit 1) as last_failure`;

function present({ last_failure: last, ...message }: TriedMessage): Row {
  return { ...message, last_failure: last && { at: last.at, why: describeFailedTry(last) } };
}
