import { formatRoomKey, type RoomAddress, type RoomKind } from "../../../contract/names.ts";
import { rowsOf, type Db } from "../../connection/open.ts";
import { enqueueRoomsRenamed } from "../../users/user-event-outbox.ts";
import { aliasOf, nextGeneration } from "./generations.ts";

export type Rename = { roomId: string; kind: RoomKind; slug: string };

// The alias stays that of the first address. A new epoch: what clients and Redis hold of the former channel ends.
const RENAME = `
  with wanted as (
    select distinct on (r.kind, w.slug) r.id, r.tenant_id, r.kind, r.slug as former, r.generation as former_generation, w.slug,
           ${aliasOf("r")} as alias_localpart,
           ${nextGeneration({ tenantId: "r.tenant_id", kind: "r.kind", slug: "w.slug" })} as generation
      from jsonb_to_recordset(cast(:renames as jsonb)) as w("roomId" uuid, slug text)
      join rooms r on r.id = w."roomId" and r.tenant_id = :tenantId and r.deleted_at is null
     where r.kind <> 'direct' and r.slug <> w.slug
       and not exists (select 1 from rooms x
                        where x.tenant_id = r.tenant_id and x.kind = r.kind and x.slug = w.slug and x.deleted_at is null)
     order by r.kind, w.slug, r.id
  ), kept as (
    insert into former_slugs (tenant_id, kind, slug, generation, room_id)
    select tenant_id, kind, former, former_generation, id from wanted
  ), renamed as (
    update rooms r set slug = w.slug, generation = w.generation, alias_localpart = w.alias_localpart
      from wanted w where r.id = w.id
    returning r.id, r.kind, w.former
  ), replaced as (
    update room_timeline t set epoch = gen_random_uuid() from renamed r where t.room_id = r.id returning t.room_id
  ), marked as (
    insert into unpublished_rooms (room_id) select room_id from replaced order by room_id on conflict do nothing
  )
  select id, kind, former from renamed`;

/**
 * Gives locked rooms, whose timelines are locked too, new slugs and new epochs, and queues the events of their members. A rename to
 * the present slug, to a slug that an existing room of the kind has, and of a direct room is left out. Returns the ids of the
 * rooms that were renamed. The number of statements does not depend on that of the renames.
 */
export async function renameRooms(trx: Db, tenantId: string, renames: readonly Rename[]): Promise<string[]> {
  if (renames.length === 0) return [];
  const renamed = await rowsOf<{ id: string; kind: RoomKind; former: string }>(trx, RENAME, {
    ...{ tenantId, renames: JSON.stringify(renames) },
  });
  await enqueueRoomsRenamed(
    trx,
    renamed.map(({ id: roomId, kind, former }) => ({
      roomId,
      formerKey: formatRoomKey({ kind, slug: former }),
    })),
  );
  return renamed.map(({ id }) => id);
}

/** A former address, and the room that had it last. */
export type FormerRoom = { kind: RoomKind; slug: string; room_id: string; present_slug: string };

/**
 * Of some addresses at which no room stands, the existing rooms that had them last, at their present address. An address whose
 * last room was deleted leads nowhere.
 */
export function findFormerRooms(
  db: Db,
  tenantId: string,
  addresses: readonly RoomAddress[],
): Promise<FormerRoom[]> {
  return rowsOf<FormerRoom>(
    db,
    `select w.kind, w.slug, r.id as room_id, r.slug as present_slug
       from (select distinct kind, slug from unnest(cast(:kinds as text[]), cast(:slugs as text[])) as a(kind, slug)) w
       join lateral (
         select f.room_id, f.generation from former_slugs f
          where f.tenant_id = :tenantId and f.kind = w.kind and f.slug = w.slug order by f.generation desc limit 1) f on true
       join rooms r on r.id = f.room_id and r.deleted_at is null
      where not exists (select 1 from rooms x
                         where x.tenant_id = :tenantId and x.kind = w.kind and x.slug = w.slug and x.generation > f.generation)
        and not exists (select 1 from rooms x
                         where x.tenant_id = :tenantId and x.kind = w.kind and x.slug = w.slug and x.deleted_at is null)`,
    { tenantId, kinds: addresses.map(({ kind }) => kind), slugs: addresses.map(({ slug }) => slug) },
  );
}
