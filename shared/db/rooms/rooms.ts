import { Model } from "objection";
import { formatRoomKey, type RoomAddress, type RoomKind } from "../../contract/names.ts";
import type { Posting } from "../../contract/permissions.ts";
import type { RoomJoin, RoomResource } from "../../contract/resources.ts";
import { execute, rowsOf, type Db } from "../connection/open.ts";
import { PROVISIONING_DUE } from "../provisioning-due.ts";
import { changeRooms } from "./many/change-rooms.ts";
import type { DesiredRoom } from "./many/desired-room.ts";
import { insertRooms } from "./many/insert-rooms.ts";
import { JOIN_MIRROR, SENT_NUMBER } from "./room-mirrors.ts";

/**
 * A room of a tenant, and the desired state of a room on Matrix.
 *
 * - `desired_version`: each change of name, topic, avatar or visibility, and the deletion, adds one (`changeRoom` and
 *   `markRoomsDeleted`, by the api). A change on Matrix that must be reverted adds one too (the sync, `makeRepairDue`).
 * - `applied_version`: the version that the provisioning job has applied (`room-provisioning.ts`). The room is due from
 *   `next_attempt_at` on (`../provisioning-due.ts`).
 * - status pending → ready: the job has applied the desired version. pending → failed: the job failed in a way that time
 *   does not repair. failed → pending: the tenant changes the room.
 * - deleted: `deleted_at` is set. The address is free; the job removes the room from Matrix.
 *
 * The `members_…` columns are the same for the room's members (`../memberships/members-due.ts`).
 */
export class Room extends Model {
  static override tableName = "rooms";
  declare id: string;
  declare tenant_id: string;
  declare kind: RoomKind;
  declare slug: string;
  declare generation: number;
  declare alias_localpart: string | null;
  declare name: string;
  declare topic: string | null;
  declare avatar: string | null;
  /** Unknown users may be in a public room on Matrix, and in no private one. */
  declare visibility: "private" | "public";
  /** Whether users of the tenant may join a public room by themselves. */
  declare join_rule: RoomJoin;
  declare posting: Posting;
  /** Seconds that a member waits between two messages; 0 for none. */
  declare slow_mode_s: number;
  /** For how many days the room keeps its timeline, 0 for ever: see `../timeline/cut.ts`. */
  declare retention_days: number;
  /** Of a direct room: one of its two people blocks the other. */
  declare is_blocked: boolean;
  declare observer_id: string;
  declare matrix_room_id: string | null;
  declare status: "pending" | "ready" | "failed";
  declare desired_version: number;
  declare applied_version: number;
  declare next_attempt_at: Date | null;
  declare attempts: number;
  declare error: string | null;
  declare members_desired_version: number;
  declare members_applied_version: number;
  declare members_next_attempt_at: Date | null;
  declare members_attempts: number;
  declare members_error: string | null;
  declare member_count: number;
  /** Its history on Matrix is being read: see `adoption.ts`. */
  declare adopting: boolean;
  declare created_at: Date;
  declare deleted_at: Date | null;
}

/** The existing room at an address; a deleted one is not found. */
export async function findRoom(
  db: Db,
  tenantId: string,
  { kind, slug }: RoomAddress,
): Promise<Room | undefined> {
  return Room.query(db).findOne({ tenant_id: tenantId, kind, slug, deleted_at: null });
}

/**
 * Inserts a room with its outbox and its timeline. Returns false when an existing room has the address.
 * @throws AppError `unavailable` when the tenant has too many pending rooms for one more.
 */
export async function insertRoom(
  trx: Db,
  tenantId: string,
  address: RoomAddress,
  desired: DesiredRoom,
): Promise<boolean> {
  return (await insertRooms(trx, tenantId, [{ address, desired }])).length > 0;
}

/**
 * The existing room at an address, with its outbox row locked until the transaction ends. A transaction that changes a
 * room or its members, or accepts a message, takes this lock first.
 */
export async function lockRoom(trx: Db, tenantId: string, address: RoomAddress): Promise<Room | undefined> {
  const found = await findRoom(trx, tenantId, address);
  if (!found) return undefined;
  await lockOutboxes(trx, tenantId, [found.id]);
  // The room may have been deleted while the lock was waited for.
  return Room.query(trx).findOne({ tenant_id: tenantId, id: found.id, deleted_at: null });
}

/** Locks the outbox rows of rooms, in id order. */
export function lockOutboxes(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<void> {
  return lockRows(trx, "room_outbox", tenantId, roomIds);
}

/**
 * Locks the timelines of rooms whose outboxes are locked, in id order, before anything else of the rooms is changed: the
 * sync takes this lock first, too, and waits until the transaction ends.
 */
export function lockTimelines(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<void> {
  return lockRows(trx, "room_timeline", tenantId, roomIds);
}

async function lockRows(
  trx: Db,
  table: "room_outbox" | "room_timeline",
  tenantId: string,
  roomIds: readonly string[],
): Promise<void> {
  await execute(
    trx,
    `select 1 from ${table} where tenant_id = ? and room_id = any(?) order by room_id for update`,
    [tenantId, [...roomIds]],
  );
}

/**
 * Changes the desired state of a locked room, due at once where Matrix shows it. Returns the fields that differ; without one, nothing
 * is changed.
 */
export async function changeRoom(
  trx: Db,
  room: Room,
  desired: Partial<DesiredRoom>,
): Promise<Partial<DesiredRoom>> {
  const differing = differingFields(room, desired);
  if (Object.keys(differing).length === 0) return differing;
  await changeRooms(trx, [{ id: room.id, fields: { ...fieldsOf(room), ...differing }, changed: differing }]);
  return differing;
}

/** Whether a room has the desired fields already. */
export function isRoomAsDesired(room: Room, desired: Partial<DesiredRoom>): boolean {
  return Object.keys(differingFields(room, desired)).length === 0;
}

/** The fields of a room that are to have another value. */
export function differingFields(room: Room, desired: Partial<DesiredRoom>): Partial<DesiredRoom> {
  const present: Record<string, unknown> = fieldsOf(room);
  return Object.fromEntries(Object.entries(desired).filter(([name, value]) => value !== present[name]));
}

/** The fields of a room as the tenant wants them. */
export function fieldsOf(room: Room): Required<DesiredRoom> {
  const { name, topic, avatar, visibility, join_rule: join, posting } = room;
  const { slow_mode_s: slowModeS, retention_days: retentionDays } = room;
  return { name, topic, avatar, visibility, join, posting, slowModeS, retentionDays };
}

/** Marks locked rooms deleted: their addresses are free, the rooms on Matrix are due to be cleaned up. */
export async function markRoomsDeleted(trx: Db, tenantId: string, roomIds: readonly string[]): Promise<void> {
  await execute(
    trx,
    `update rooms set deleted_at = now(), ${PROVISIONING_DUE}, attempts = 0,
            members_next_attempt_at = null, member_count = 0
      where tenant_id = ? and id = any(?)`,
    [tenantId, roomIds],
  );
}

/** A room with the position of its timeline. Read it before the timeline's entries. */
export type RoomWithPosition = Room & { epoch: string; last_number: number; sent_number: number };

export async function findRoomWithPosition(
  db: Db,
  tenantId: string,
  address: RoomAddress,
): Promise<RoomWithPosition | undefined> {
  const rows = await rowsOf<RoomWithPosition>(
    db,
    `select r.*, t.epoch, t.last_number, ${SENT_NUMBER} from rooms r join room_timeline t on t.room_id = r.id ${JOIN_MIRROR}
      where r.tenant_id = ? and r.kind = ? and r.slug = ? and r.deleted_at is null`,
    [tenantId, address.kind, address.slug],
  );
  return rows[0];
}

/** A room as clients see it: pending while the desired state is not on Matrix yet. */
export function presentRoom(room: RoomWithPosition): RoomResource {
  const isWaiting = room.status === "ready" && (room.adopting || room.desired_version > room.applied_version);
  return {
    room: formatRoomKey(room),
    kind: room.kind,
    slug: room.slug,
    name: room.name,
    topic: room.topic,
    avatar: room.avatar,
    visibility: room.visibility,
    join: room.join_rule,
    posting: room.posting,
    slowModeS: room.slow_mode_s,
    retentionDays: room.retention_days,
    status: isWaiting ? "pending" : room.status,
    epoch: room.epoch,
    offset: room.last_number,
    sentUpTo: room.sent_number,
    members: room.member_count,
    createdAt: room.created_at.toISOString(),
  };
}
