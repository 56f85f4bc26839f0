import { rowsOf, type Db } from "../../shared/db/open.ts";
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
  desired_version: number;
  applied_version: number;
  attempts: number;
  members_desired_version: number;
  members_attempts: number;
  outbox_attempts: number;
  is_deleted: boolean;
};

/** Null when there is no such room. A deleted one is found: its remains on Matrix are still to be cleared. */
export async function findRoomFacts(db: Db, tenantId: string, roomId: string): Promise<RoomFacts | null> {
  const rows = await rowsOf<RoomFacts>(
    db,
    `select r.id, r.tenant_id, t.status = 'active' as tenant_is_active, t.homeserver_id,
            (t.limits ->> 'maxAgeMs')::bigint as max_age_ms, coalesce(t.limits ->> 'join', 'lazy') as join_policy,
            r.kind, r.slug, r.generation, r.name, r.topic, r.avatar, r.observer_id, o.matrix_user_id as observer_matrix_id,
            o.is_registered as observer_is_registered, r.matrix_room_id, r.desired_version, r.applied_version, r.attempts,
            r.members_desired_version, r.members_attempts, x.attempts as outbox_attempts, r.deleted_at is not null as is_deleted
       from rooms r
       join tenants t on t.id = r.tenant_id
       join observers o on o.id = r.observer_id
       join room_outbox x on x.room_id = r.id
      where r.tenant_id = ? and r.id = ?`,
    [tenantId, roomId],
  );
  return rows[0] ?? null;
}
