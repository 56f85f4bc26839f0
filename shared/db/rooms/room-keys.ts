import { formatRoomKey, type RoomKind } from "../../contract/names.ts";
import { rowsOf, type Db } from "../connection/open.ts";

/** Keys of rooms, deleted ones too, by row id. */
export async function readRoomKeys(db: Db, roomIds: readonly string[]): Promise<Map<string, string>> {
  if (roomIds.length === 0) return new Map();
  const rows = await rowsOf<{ id: string; kind: RoomKind; slug: string }>(
    db,
    "select id, kind, slug from rooms where id = any(?)",
    [[...roomIds]],
  );
  return new Map(rows.map((row) => [row.id, formatRoomKey(row)]));
}
