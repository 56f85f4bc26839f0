import { rowsOf, type Db } from "../connection/open.ts";
import type { Posting } from "../../contract/permissions.ts";
import type { RoomKind } from "../../contract/names.ts";
import { aliasOf } from "./names/generations.ts";

/** What a handler knows of a room, as the tables say at one moment. */
export type RoomSnapshot = {
  id: string;
  tenant_id: string;
  tenant_is_active: boolean;
  homeserver_id: string;
  max_age_ms: number | null;
  join_policy: "eager" | "lazy";
  on_refused: "keep" | "hide";
  kind: RoomKind;
  slug: string;
  /** The part of its alias between `#` and `:`. */
  alias_localpart: string;
  name: string;
  posting: Posting;
  is_blocked: boolean;
  topic: string | null;
  avatar: string | null;
  observer_id: string;
  observer_matrix_id: string;
  observer_is_registered: boolean;
  matrix_room_id: string | null;
  /** The room that replaces an upgraded one on Matrix, until we follow it. */
  successor_matrix_room_id: string | null;
  observer_is_out: boolean;
  desired_version: number;
  applied_version: number;
  attempts: number;
  members_desired_version: number;
  members_attempts: number;
  outbox_attempts: number;
  /** Time until the room's messages are due, by the database's clock; 0 or less when they are. */
  outbox_wait_ms: number;
  is_deleted: boolean;
};

/** The columns of a RoomSnapshot, where `x` is the room's outbox row joined by `SNAPSHOT_JOINS`. */
export const SNAPSHOT_COLUMNS = `
  r.id, r.tenant_id, t.status = 'active' as tenant_is_active, t.homeserver_id,
  (t.limits ->> 'maxAgeMs')::bigint as max_age_ms, coalesce(t.limits ->> 'join', 'lazy') as join_policy,
  coalesce(t.limits ->> 'onRefused', 'keep') as on_refused,
  r.kind, r.slug, ${aliasOf("r")} as alias_localpart, r.name, r.posting, r.is_blocked, r.topic, r.avatar, r.observer_id,
  o.matrix_user_id as observer_matrix_id,
  o.is_registered as observer_is_registered, r.matrix_room_id, r.successor_matrix_room_id,
  r.observer_left_at is not null as observer_is_out, r.desired_version, r.applied_version, r.attempts,
  r.members_desired_version, r.members_attempts, x.attempts as outbox_attempts,
  coalesce(ceil(extract(epoch from x.next_attempt_at - now()) * 1000), 0)::int as outbox_wait_ms, r.deleted_at is not null as is_deleted`;

export const SNAPSHOT_JOINS = `
  join rooms r on r.id = x.room_id
  join tenants t on t.id = r.tenant_id
  join observers o on o.id = r.observer_id`;

/** Null when there is no such room. A deleted room is found: what is left of it on Matrix must still be removed. */
export async function findRoomSnapshot(
  db: Db,
  tenantId: string,
  roomId: string,
): Promise<RoomSnapshot | null> {
  const rows = await rowsOf<RoomSnapshot>(
    db,
    `select ${SNAPSHOT_COLUMNS} from room_outbox x ${SNAPSHOT_JOINS} where x.tenant_id = ? and x.room_id = ?`,
    [tenantId, roomId],
  );
  return rows[0] ?? null;
}
