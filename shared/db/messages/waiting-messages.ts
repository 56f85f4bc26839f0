import type { RoomKind } from "../../contract/names.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { JOIN_COUNTERS, WAITING_COUNT } from "../rooms/room-mirrors.ts";

/** The last failed attempt to send a message, as `delivery-attempts.ts` recorded it. */
type LastFailure = { failure: string; detail: string; at: Date };

/** The message that waits longest to be sent. Its room may be delayed by an earlier attempt. */
export type OldestWaiting = {
  id: string;
  tenant: string;
  kind: RoomKind;
  slug: string;
  homeserver: string;
  ageMs: number;
  attempts: number;
  lastFailure: LastFailure | null;
};

const OLDEST = `
  select m.id, t.slug as tenant, r.kind, r.slug, h.server_name as homeserver,
         cast(extract(epoch from now() - m.accepted_at) * 1000 as double precision) as "ageMs",
         (select count(*) from (select 1 from delivery_attempts where message_id = m.id limit 1000) tries) as attempts,
         a.failure, a.detail, a.at
    from room_outbox x
    join tenants t on t.id = x.tenant_id and t.status = 'active'
    join homeservers h on h.id = t.homeserver_id
    join rooms r on r.id = x.room_id
    join lateral (select id, accepted_at from messages where room_id = x.room_id and open and status in ('queued', 'sending')
                   order by order_number limit 1) m on true
    left join lateral (select failure, detail, at from delivery_attempts where message_id = m.id order by at desc limit 1) a on true
   where x.next_attempt_at is not null
   order by m.accepted_at limit 1`;

const COUNT = `
  select coalesce(sum(${WAITING_COUNT}), 0) as count
    from room_outbox o join tenants t on t.id = o.tenant_id ${JOIN_COUNTERS}`;

/** How many messages wait for Matrix, by the counters of their rooms, without those of paused tenants. */
export async function countWaitingMessages(db: Db): Promise<number> {
  const [row] = await rowsOf<{ count: number | string }>(db, `${COUNT} where t.status = 'active'`, []);
  return Number(row?.count ?? 0);
}

/** How many messages of a tenant wait for Matrix, by the counters of its rooms. */
export async function countWaitingOfTenant(db: Db, tenantId: string): Promise<number> {
  const [row] = await rowsOf<{ count: number | string }>(db, `${COUNT} where t.id = ?`, [tenantId]);
  return Number(row?.count ?? 0);
}

/** The message that waits longest to be sent, without those of paused tenants; null when none waits. */
export async function findOldestWaiting(db: Db): Promise<OldestWaiting | null> {
  type Row = Omit<OldestWaiting, "lastFailure"> & {
    failure: string | null;
    detail: string | null;
    at: Date | null;
  };
  const [row] = await rowsOf<Row>(db, OLDEST, []);
  if (!row) return null;
  const { failure, detail, at, ...rest } = row;
  const lastFailure = failure === null || at === null ? null : { failure, detail: detail ?? "", at };
  return { ...rest, lastFailure };
}
