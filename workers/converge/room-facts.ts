import { rowsOf, type Db } from "../../shared/db/open.ts";
import { LEASE_MS } from "../../shared/db/outbox.ts";
import type { RoomKind } from "../../shared/names.ts";

/** What handlers know of a room: as the tables say now. */
export type RoomFacts = {
  id: string;
  tenant_id: string;
  tenant_is_active: boolean;
  homeserver_id: string;
  max_age_ms: number | null;
  join_policy: "eager" | "lazy";
  kind: RoomKind;
  slug: string;
  generation: number;
  name: string;
  topic: string | null;
  avatar: string | null;
  observer_id: string;
  observer_matrix_id: string;
  observer_is_registered: boolean;
  matrix_room_id: string | null;
  /** Where an upgraded room goes on, until that is followed. */
  successor_matrix_room_id: string | null;
  observer_is_out: boolean;
  desired_version: number;
  applied_version: number;
  attempts: number;
  members_desired_version: number;
  members_attempts: number;
  outbox_attempts: number;
  /** Until the room's messages may be tried again, by the database's clock; 0 or less when they may. */
  outbox_wait_ms: number;
  is_deleted: boolean;
};

const COLUMNS = `
  r.id, r.tenant_id, t.status = 'active' as tenant_is_active, t.homeserver_id,
  (t.limits ->> 'maxAgeMs')::bigint as max_age_ms, coalesce(t.limits ->> 'join', 'lazy') as join_policy,
  r.kind, r.slug, r.generation, r.name, r.topic, r.avatar, r.observer_id, o.matrix_user_id as observer_matrix_id,
  o.is_registered as observer_is_registered, r.matrix_room_id, r.successor_matrix_room_id,
  r.observer_left_at is not null as observer_is_out, r.desired_version, r.applied_version, r.attempts,
  r.members_desired_version, r.members_attempts, x.attempts as outbox_attempts,
  coalesce(ceil(extract(epoch from x.next_attempt_at - now()) * 1000), 0)::int as outbox_wait_ms, r.deleted_at is not null as is_deleted`;

const JOINS = `
  join rooms r on r.id = x.room_id
  join tenants t on t.id = r.tenant_id
  join observers o on o.id = r.observer_id`;

/** Null when there is no such room. A deleted one is found: its remains on Matrix are still to be cleared. */
export async function findRoomFacts(db: Db, tenantId: string, roomId: string): Promise<RoomFacts | null> {
  const rows = await rowsOf<RoomFacts>(
    db,
    `select ${COLUMNS} from room_outbox x ${JOINS} where x.tenant_id = ? and x.room_id = ?`,
    [tenantId, roomId],
  );
  return rows[0] ?? null;
}

/** Takes the right to write to a room and reads what is known of it. Null when somebody has it, or there is no such room. */
export async function takeRoom(
  db: Db,
  tenantId: string,
  roomId: string,
  fence: string,
): Promise<RoomFacts | null> {
  const rows = await rowsOf<RoomFacts>(
    db,
    `with x as (
       update room_outbox set fence = ?, lease_until = now() + ? * interval '1 millisecond'
        where tenant_id = ? and room_id = ? and (lease_until is null or lease_until < now())
       returning room_id, attempts, next_attempt_at
     )
     select ${COLUMNS} from x ${JOINS}`,
    [fence, LEASE_MS, tenantId, roomId],
  );
  return rows[0] ?? null;
}
