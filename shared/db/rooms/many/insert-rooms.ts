import type { RoomAddress } from "../../../contract/names.ts";
import { newFence, newId } from "../../../platform/ids.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import { requirePendingQuota } from "../../tenants/pending-quota.ts";
import { aliasLocalpart, nextGeneration } from "../names/generations.ts";
import type { DesiredRoom } from "./desired-room.ts";

/** A room that is made at an address. */
export type NewRoom = { address: RoomAddress; desired: DesiredRoom };

/**
 * Inserts rooms, each with its outbox and its timeline, in the order of their addresses. Where an existing room has the address,
 * none is made. Returns those that are made.
 * @throws AppError `unavailable` when the tenant has too many pending rooms for all of them.
 */
export async function insertRooms(
  trx: Db,
  tenantId: string,
  rooms: readonly NewRoom[],
): Promise<(RoomAddress & { id: string })[]> {
  await requirePendingQuota(trx, tenantId, "rooms", rooms.length);
  const rows = rooms.map(({ address, desired }) => ({
    ...{ id: newId(), kind: address.kind, slug: address.slug, epoch: newFence() },
    ...{ retentionDays: 0, ...desired },
  }));
  return rowsOf<RoomAddress & { id: string }>(trx, INSERT, { tenantId, rooms: JSON.stringify(rows) });
}

const NEW_ROOM = { tenantId: "w.tenant_id", kind: "w.kind", slug: "w.slug", generation: "w.generation" };

const INSERT = `
  with wanted as materialized (
    select a.*, ${nextGeneration({ tenantId: "a.tenant_id", kind: "a.kind", slug: "a.slug" })} as generation
      from (select cast(:tenantId as uuid) as tenant_id, given.*
              from jsonb_to_recordset(cast(:rooms as jsonb))
                as given(id uuid, kind text, slug text, epoch text, name text, topic text, avatar text, visibility text, "join" text,
                         posting text, "slowModeS" int, "retentionDays" int)) a
  ), room as (
    insert into rooms (id, tenant_id, kind, slug, generation, alias_localpart, name, topic, avatar, visibility, join_rule, posting,
                       slow_mode_s, retention_days, observer_id)
    select w.id, w.tenant_id, w.kind, w.slug, w.generation, ${aliasLocalpart(NEW_ROOM)}, w.name, w.topic, w.avatar, w.visibility,
           w."join", w.posting, w."slowModeS", w."retentionDays",
           (select id from observers where tenant_id = :tenantId order by created_at desc, id desc limit 1)
      from wanted w order by w.kind, w.slug
        on conflict do nothing
    returning id, tenant_id, kind, slug
  ), outbox as (
    insert into room_outbox (room_id, tenant_id) select id, tenant_id from room
  ), timeline as (
    insert into room_timeline (room_id, tenant_id, epoch) select room.id, room.tenant_id, w.epoch from room join wanted w on w.id = room.id
  ), mirror as (
    insert into room_mirrors (room_id, tenant_id) select id, tenant_id from room
  )
  select id, kind, slug from room`;
