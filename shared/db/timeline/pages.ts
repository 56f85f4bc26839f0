import { MESSAGE_ENTRY_TYPES } from "../../contract/content/index.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { SELECT_ENTRY, type EntryRow } from "./entries.ts";

/** `sentNumber`: all of our messages up to it are seen on Matrix, or dead. */
export type TimelinePosition = { epoch: string; lastNumber: number; sentNumber: number };

/** Where a room's timeline stands. Read it before the rows: then a client that continues from it misses nothing. */
export async function readPosition(
  db: Db,
  tenantId: string,
  roomId: string,
): Promise<TimelinePosition | undefined> {
  const rows = await rowsOf<TimelinePosition>(
    db,
    `select t.epoch, t.last_number as "lastNumber", coalesce(m.sent_number, 0) as "sentNumber"
       from room_timeline t left join room_mirrors m on m.room_id = t.room_id where t.tenant_id = ? and t.room_id = ?`,
    [tenantId, roomId],
  );
  return rows[0];
}

export type PageEdge = { before: number } | { after: number } | null;

/** At most `limit` messages of a room's timeline next to an edge, oldest first; the newest ones without an edge. */
export async function listTimelineMessages(
  db: Db,
  tenantId: string,
  roomId: string,
  { edge, limit }: { edge: PageEdge; limit: number },
): Promise<EntryRow[]> {
  const isForward = edge !== null && "after" in edge;
  const bound = edge === null ? null : "after" in edge ? edge.after : edge.before;
  const rows = await rowsOf<EntryRow>(
    db,
    `${SELECT_ENTRY}
      where e.tenant_id = :tenantId and e.room_id = :roomId and e.type = any(:types)
        ${bound === null ? "" : `and e.number ${isForward ? ">" : "<"} :bound`}
      order by e.number ${isForward ? "asc" : "desc"} limit :limit`,
    { tenantId, roomId, limit, types: [...MESSAGE_ENTRY_TYPES], ...(bound === null ? {} : { bound }) },
  );
  return isForward ? rows : rows.reverse();
}

/** A message in a room's timeline, by its id. */
export async function findTimelineMessage(
  db: Db,
  tenantId: string,
  roomId: string,
  id: string,
): Promise<EntryRow | undefined> {
  const rows = await rowsOf<EntryRow>(
    db,
    `${SELECT_ENTRY} where e.tenant_id = ? and e.room_id = ? and e.entry_id = ? and e.type = any(?)`,
    [tenantId, roomId, id, [...MESSAGE_ENTRY_TYPES]],
  );
  return rows[0];
}

/** At most `limit` entries of any type after a number, up to another, in order, as they are now. */
export function listEntriesAfter(
  db: Db,
  { roomId, position, lastNumber }: { roomId: string; position: number; lastNumber: number },
  limit: number,
): Promise<EntryRow[]> {
  return rowsOf<EntryRow>(
    db,
    `${SELECT_ENTRY} where e.room_id = :roomId and e.number > :position and e.number <= :lastNumber
      order by e.number limit :limit`,
    { roomId, position, lastNumber, limit },
  );
}
