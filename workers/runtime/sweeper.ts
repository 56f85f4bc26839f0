import { jobOptions, type Queues } from "../../shared/queues/open.ts";
import { JOBS, type JobName, type JobPayload } from "../../shared/queues/index.ts";
import { rowsOf } from "../../shared/db/connection/open.ts";
import { appendDueMemberCounts } from "../../shared/timeline/member-counts.ts";
import { publishUserEventOutbox } from "../../shared/timeline/publish-user-events.ts";
import { findDueCursors } from "../../shared/db/timeline/consumers.ts";
import { findUnpublishedRooms } from "../../shared/db/timeline/publish-state.ts";
import { publishRooms } from "../../shared/timeline/publish.ts";
import type { WorkerContext } from "./context.ts";

const EVERY_MS = 1_000;
const FOUND_AT_MOST = 500;
/** Work that stays due for this long though it was added again: its deduplication key may hold a job that is lost. */
const STUCK_AFTER_MS = 5_000;

type DueName = Exclude<JobName, "maintenance">;
type Due = { [N in DueName]: { name: N; payload: JobPayload<N> } }[DueName];

export type Sweeper = { stop: () => Promise<void> };

/**
 * Finds in Postgres, every second, whatever no job woke, and wakes it: Redis may have lost everything. Every jobs
 * process sweeps; the same work found twice is one job. It also tells what nobody told yet.
 */
export function startSweeper(context: WorkerContext, queues: Queues): Sweeper {
  const dueSince = new Map<string, number>();
  let running = Promise.resolve();
  let isBusy = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    running = sweepOnce(context, queues, dueSince)
      .catch((error: unknown) => {
        context.log.warn({ err: error }, "sweeping failed");
      })
      .finally(() => {
        isBusy = false;
      });
  }, EVERY_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}

async function sweepOnce(
  context: WorkerContext,
  queues: Queues,
  dueSince: Map<string, number>,
): Promise<void> {
  const due = [...(await findDue(context)), ...(await findDueConsumers(context))];
  const nowMs = performance.now();
  const keys = new Set(due.map(keyOf));
  for (const key of dueSince.keys()) if (!keys.has(key)) dueSince.delete(key);
  await Promise.all(
    due.map((work) => wakeDue(context, queues, work, firstSeen(dueSince, keyOf(work), nowMs), nowMs)),
  );
  await publishRooms(context, await findUnpublishedRooms(context.db, FOUND_AT_MOST));
  await publishUserEventOutbox(context, FOUND_AT_MOST);
  await publishRooms(context, await appendDueMemberCounts(context.db, FOUND_AT_MOST));
}

function firstSeen(dueSince: Map<string, number>, key: string, nowMs: number): number {
  const since = dueSince.get(key) ?? nowMs;
  dueSince.set(key, since);
  return since;
}

function deduplicationIdOf(work: Due): string {
  // The payload is that of the contract of the same name, which the compiler cannot follow through the union.
  return JOBS[work.name].deduplicationId(work.payload as never);
}

function keyOf(work: Due): string {
  return `${work.name} ${deduplicationIdOf(work)}`;
}

async function wakeDue(
  context: WorkerContext,
  queues: Queues,
  work: Due,
  sinceMs: number,
  nowMs: number,
): Promise<void> {
  const queue = queues[work.name];
  if (nowMs - sinceMs > STUCK_AFTER_MS) await freeLostKey(context, queues, work);
  context.metrics.sweeperWakes.inc({ queue: work.name });
  await queue.add(
    work.name,
    work.payload,
    jobOptions(work.name, work.payload as never, { reschedule: true }),
  );
}

/** A key whose job is in no list would swallow every wake-up for ever. */
async function freeLostKey(context: WorkerContext, queues: Queues, work: Due): Promise<void> {
  const queue = queues[work.name];
  const id = deduplicationIdOf(work);
  const jobId = await queue.getDeduplicationJobId(id);
  if (jobId === null) return;
  const state = await queue.getJobState(jobId);
  if (state !== "unknown" && state !== "completed" && state !== "failed") return;
  await queue.removeDeduplicationKey(id);
  context.metrics.keysRepaired.inc();
  context.log.error({ queue: work.name, job: jobId }, "a deduplication key held a job that is gone: freed");
}

/** The rooms that are due for the consumers of this process. */
async function findDueConsumers({ db, consumers }: WorkerContext): Promise<Due[]> {
  const names = consumers.map(({ name }) => name);
  const keys = await findDueCursors(db, { consumers: names, dueForMs: GRACE_MS, limit: FOUND_AT_MOST });
  return keys.map((payload) => ({ name: "timeline-consumer", payload }));
}

// A little grace, so that what a job is about to do is not woken again; a room under lease wakes itself.
const GRACE_MS = 500;
const GRACE = `interval '${GRACE_MS} milliseconds'`;

async function findDue({ db }: WorkerContext): Promise<Due[]> {
  const rows = await rowsOf<{
    name: Exclude<Due["name"], "timeline-consumer">;
    tenant_id: string;
    id: string;
    subject: "user" | "room" | null;
  }>(
    db,
    `with idle as not materialized (
       select x.room_id from room_outbox x where x.lease_until is null or x.lease_until < now()
     )
     -- In turn over the tenants: the backlog of one does not keep the others from being found.
    (select 'outbound-message' as name, x.tenant_id, x.room_id as id, null as subject
        from room_outbox x join tenants t on t.id = x.tenant_id
       where x.next_attempt_at <= now() - ${GRACE} and (x.lease_until is null or x.lease_until < now()) and t.status = 'active'
       order by row_number() over (partition by x.tenant_id order by x.next_attempt_at), x.next_attempt_at limit :limit)
     union all
     (select 'membership', r.tenant_id, r.id, null
        from rooms r join tenants t on t.id = r.tenant_id join idle on idle.room_id = r.id
       where r.members_next_attempt_at <= now() - ${GRACE} and r.deleted_at is null and t.status = 'active'
       order by r.members_next_attempt_at limit :limit)
     union all
     (select 'provisioning', r.tenant_id, r.id, 'room'
        from rooms r join tenants t on t.id = r.tenant_id join idle on idle.room_id = r.id
       where r.next_attempt_at <= now() - ${GRACE} and t.status = 'active'
       order by r.next_attempt_at limit :limit)
     union all
     (select 'provisioning', u.tenant_id, u.id, 'user'
        from users u join tenants t on t.id = u.tenant_id
       where u.next_attempt_at <= now() - ${GRACE} and t.status = 'active'
       order by u.next_attempt_at limit :limit)
     union all
     (select 'room-sync', g.tenant_id, g.room_id, null
        from room_timeline g join rooms r on r.id = g.room_id
       where g.gap_next_attempt_at <= now() - ${GRACE} and r.observer_left_at is null
       order by g.gap_next_attempt_at limit :limit)`,
    { limit: FOUND_AT_MOST },
  );
  return rows.map(({ name, tenant_id: tenantId, id, subject }): Due => {
    if (name === "provisioning") return { name, payload: { tenantId, subject: subject ?? "room", id } };
    return { name, payload: { tenantId, roomId: id } };
  });
}
