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
       order by ${inTurn("g", "gap_next_attempt_at")} limit :limit)`;

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
    return { name, payload: { tenantId, roomId: id } };
  });
}

const SOON = "now() + random() * :spreadMs * interval '1 millisecond'";
const OF_ITS_TENANTS = "tenant_id in (select id from mine)";
const hasFailed = (due: string, attempts: string) => `${due} > now() and ${attempts} > 0`;
const ROW_FAILED = hasFailed("next_attempt_at", "attempts");
const PROVISIONING_FAILED = `${ROW_FAILED} and status <> 'failed'`;
const MEMBERS_FAILED = hasFailed("members_next_attempt_at", "members_attempts");

const MAKE_DUE_AFTER_OUTAGE = `
    with mine as (select id from tenants where homeserver_id = :homeserverId),
     outboxes as (
       update room_outbox set next_attempt_at = ${SOON} where ${ROW_FAILED} and ${OF_ITS_TENANTS}
     ), gaps as (
       update room_timeline set gap_next_attempt_at = ${SOON}
        where ${hasFailed("gap_next_attempt_at", "gap_attempts")} and ${OF_ITS_TENANTS}
     ), people as (
       update users set next_attempt_at = ${SOON} where ${PROVISIONING_FAILED} and ${OF_ITS_TENANTS}
     )
     update rooms set next_attempt_at = case when ${PROVISIONING_FAILED} then ${SOON} else next_attempt_at end,
            members_next_attempt_at = case when ${MEMBERS_FAILED} then ${SOON} else members_next_attempt_at end
      where (${PROVISIONING_FAILED} or ${MEMBERS_FAILED}) and ${OF_ITS_TENANTS}`;

/**
 * Makes the work on a homeserver that waits after a failed attempt due within `spreadMs`. Work without a failed attempt
 * keeps its time: the homeserver asked for that delay, or it waits for no failure.
 */
export async function makeDueAfterOutage(db: Db, homeserverId: string, spreadMs: number): Promise<void> {
  await execute(db, MAKE_DUE_AFTER_OUTAGE, { homeserverId, spreadMs });
}
