import type { RoomAddress, RoomKind } from "../../contract/names.ts";
import type { DirectoryRoomResource } from "../../contract/resources.ts";
import type { Role } from "../../contract/roles.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { JOIN_MIRROR, SENT_NUMBER } from "./room-mirrors.ts";
import { presentRoom, type RoomWithPosition } from "./rooms.ts";

const FROM_ROOMS = `from rooms r join room_timeline t on t.room_id = r.id ${JOIN_MIRROR}`;

const BEGINS = "and (starts_with(lower(r.name), lower(:text)) or starts_with(r.slug, lower(:text)))";

type RoomsQuery = {
  limit: number;
  cursor: RoomAddress | null;
  kind: RoomKind | null;
  visibility: "public" | "private" | null;
  text: string | null;
};

/** A tenant's rooms in the order of kind and slug, after `cursor`. `text`: how the name or the slug begins, in any case. */
export function listRooms(
  db: Db,
  tenantId: string,
  { limit, cursor, kind, visibility, text }: RoomsQuery,
): Promise<RoomWithPosition[]> {
  return rowsOf<RoomWithPosition>(
    db,
    `select r.*, t.epoch, t.last_number, ${SENT_NUMBER} ${FROM_ROOMS}
      where r.tenant_id = :tenantId and r.deleted_at is null ${kind === null ? "" : "and r.kind = :kind"}
        ${visibility === null ? "" : "and r.visibility = :visibility"} ${text === null ? "" : BEGINS}
        ${cursor === null ? "" : "and (r.kind, r.slug) > (:afterKind, :afterSlug)"}
      order by r.kind, r.slug limit :limit`,
    {
      ...{ tenantId, limit },
      ...(kind === null ? {} : { kind }),
      ...(visibility === null ? {} : { visibility }),
      ...(text === null ? {} : { text }),
      ...(cursor === null ? {} : { afterKind: cursor.kind, afterSlug: cursor.slug }),
    },
  );
}

/** A public room as a user of its tenant sees it; `role` is null for one who is no member. */
export type DirectoryRow = RoomWithPosition & { role: Role | null };

/** `cursor`: the row id of the last room of the page before. `text`: how the name or the slug begins, in any case. */
export type DirectoryQuery = {
  limit: number;
  cursor: string | null;
  kind: RoomKind | null;
  text: string | null;
};

// Both sides of the comparison with a cursor are of one row, which is kept when its room is deleted.
const AFTER_CURSOR = `
  and (lower(r.name) collate "C", r.id)
    > ((select lower(c.name) from rooms c where c.tenant_id = :tenantId and c.id = :cursor), cast(:cursor as uuid))`;

/** A tenant's public rooms in the order of their names, in lower case. */
export function listPublicRooms(
  db: Db,
  tenantId: string,
  userId: string,
  { limit, cursor, kind, text }: DirectoryQuery,
): Promise<DirectoryRow[]> {
  return rowsOf<DirectoryRow>(
    db,
    `select r.*, t.epoch, t.last_number, ${SENT_NUMBER}, s.role ${FROM_ROOMS}
       left join memberships s on s.room_id = r.id and s.user_id = :userId and s.desired = 'in'
      where r.tenant_id = :tenantId and r.visibility = 'public' and r.deleted_at is null
        ${kind === null ? "" : "and r.kind = :kind"}
        ${text === null ? "" : BEGINS}
        ${cursor === null ? "" : AFTER_CURSOR}
      order by lower(r.name) collate "C", r.id limit :limit`,
    {
      ...{ tenantId, userId, limit },
      ...(kind === null ? {} : { kind }),
      ...(text === null ? {} : { text }),
      ...(cursor === null ? {} : { cursor }),
    },
  );
}

export function presentDirectoryRoom(row: DirectoryRow): DirectoryRoomResource {
  return { ...presentRoom(row), role: row.role };
}
