import type { JobName, JobPayload } from "../queues/index.ts";
import { execute, rowsOf, type Db } from "./connection/open.ts";

/**
 * Work whose due time in Postgres has come. Each row that a job works on has a due time; a due time of null means that
 * there is nothing to do. Redis only carries the wake-ups.
 */
type DueName = Exclude<JobName, "maintenance">;
export type DueJob = { [N in DueName]: { name: N; payload: JobPayload<N> } }[DueName];

// So that work that a job is about to do is not woken again. A room under lease wakes its work when it is released.
export const DUE_GRACE_MS = 500;
const GRACE = `interval '${DUE_GRACE_MS} milliseconds'`;

/** By turns over the tenants, the oldest first: the backlog of one does not keep the others from being found. */
const inTurn = (row: string, due: string) =>
  `row_number() over (partition by ${row}.tenant_id order by ${row}.${due}), ${row}.${due}`;

const FIND_DUE = `
    with idle as not materialized (
       select x.room_id from room_outbox x where x.lease_until is null or x.lease_until < now()
     )
     (select 'outbound-message' as name, x.tenant_id, x.room_id as id, null as subject
        from room_outbox x join tenants t on t.id = x.tenant_id
       where x.next_attempt_at <= now() - ${GRACE} and (x.lease_until is null or x.lease_until < now()) and t.status = 'active'
       order by ${inTurn("x", "next_attempt_at")} limit :limit)
     union all
     (select 'membership', r.tenant_id, r.id, null
        from rooms r join tenants t on t.id = r.tenant_id join idle on idle.room_id = r.id
       where r.members_next_attempt_at <= now() - ${GRACE} and r.deleted_at is null and t.status = 'active'
       order by ${inTurn("r", "members_next_attempt_at")} limit :limit)
     union all
     (select 'provisioning', r.tenant_id, r.id, 'room'
        from rooms r join tenants t on t.id = r.tenant_id join idle on idle.room_id = r.id
       where r.next_attempt_at <= now() - ${GRACE} and t.status = 'active'
       order by ${inTurn("r", "next_attempt_at")} limit :limit)
     union all
     (select 'provisioning', u.tenant_id, u.id, 'user'
        from users u join tenants t on t.id = u.tenant_id
       where u.next_attempt_at <= now() - ${GRACE} and t.status = 'active'
       order by ${inTurn("u", "next_attempt_at")} limit :limit)
     union all
     (select 'room-sync', g.tenant_id, g.room_id, null
        from room_timeline g join rooms r on r.id = g.room_id
       where g.gap_next_attempt_at <= now() - ${GRACE} and r.observer_left_at is null
       order by ${inTurn("g", "gap_next_attempt_at")} limit :limit)
     union all
     (select 'erasure', e.tenant_id, e.user_id, null
        from erasures e join tenants t on t.id = e.tenant_id
       where e.next_attempt_at <= now() - ${GRACE} and t.status = 'active'
       order by ${inTurn("e", "next_attempt_at")} limit :limit)`;

/** Work that has been due for half a second, `limit` of each kind at most. */
export async function findDueWork(db: Db, limit: number): Promise<DueJob[]> {
  type Row = {
    name: Exclude<DueName, "timeline-consumer">;
    tenant_id: string;
    id: string;
    subject: "user" | "room" | null;
  };
  const rows = await rowsOf<Row>(db, FIND_DUE, { limit });
  return rows.map(({ name, tenant_id: tenantId, id, subject }): DueJob => {
    if (name === "provisioning") return { name, payload: { tenantId, subject: subject ?? "room", id } };
    if (name === "erasure") return { name, payload: { tenantId, userId: id } };
    return { name, payload: { tenantId, roomId: id } };
  });
}

const SOON = "now() + random() * :spreadMs * interval '1 millisecond'";
const OF_ITS_TENANTS = "tenant_id in (select id from mine)";
const hasFailed = (due: string, attempts: string) => `${due} > now() and ${attempts} > 0`;
const ROW_FAILED = hasFailed("next_attempt_at", "attempts");
const PROVISIONING_FAILED = `${ROW_FAILED} and status <> 'failed'`;
const MEMBERS_FAILED = hasFailed("members_next_attempt_at", "members_attempts");

const MINE = "with mine as (select id from tenants where homeserver_id = :homeserverId)";

/** One statement a table. Each locks its rows in the order of their keys, as every transaction does that locks several. */
const MAKE_DUE_AFTER_OUTAGE = [
  `${MINE}, locked as (
     select room_id from room_outbox where ${ROW_FAILED} and ${OF_ITS_TENANTS} order by room_id for update
   ) update room_outbox o set next_attempt_at = ${SOON} from locked where o.room_id = locked.room_id`,
  `${MINE}, locked as (
     select room_id from room_timeline where ${hasFailed("gap_next_attempt_at", "gap_attempts")} and ${OF_ITS_TENANTS}
      order by room_id for update
   ) update room_timeline t set gap_next_attempt_at = ${SOON} from locked where t.room_id = locked.room_id`,
  `${MINE}, locked as (
     select id from users where ${PROVISIONING_FAILED} and ${OF_ITS_TENANTS} order by id for update
   ) update users u set next_attempt_at = ${SOON} from locked where u.id = locked.id`,
  `${MINE}, locked as (
     select user_id from erasures where ${ROW_FAILED} and ${OF_ITS_TENANTS} order by user_id for update
   ) update erasures e set next_attempt_at = ${SOON} from locked where e.user_id = locked.user_id`,
  `${MINE}, locked as (
     select id, ${PROVISIONING_FAILED} as row_failed, ${MEMBERS_FAILED} as members_failed from rooms
      where (${PROVISIONING_FAILED} or ${MEMBERS_FAILED}) and ${OF_ITS_TENANTS} order by id for update
   ) update rooms r set next_attempt_at = case when l.row_failed then ${SOON} else next_attempt_at end,
            members_next_attempt_at = case when l.members_failed then ${SOON} else members_next_attempt_at end
       from locked l where r.id = l.id`,
];

/**
 * Makes the work on a homeserver that waits after a failed attempt due within `spreadMs`. Work without a failed attempt
 * keeps its time: the homeserver asked for that delay, or it waits for no failure.
 */
export async function makeDueAfterOutage(db: Db, homeserverId: string, spreadMs: number): Promise<void> {
  for (const statement of MAKE_DUE_AFTER_OUTAGE) await execute(db, statement, { homeserverId, spreadMs });
}
