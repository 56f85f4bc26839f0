import { AppError } from "../../../contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../../contract/names.ts";
import { transact } from "../../connection/transaction.ts";
import type { Statement } from "../../connection/pipelined-transaction.ts";
import { execute, rowsOf, type Db } from "../../connection/open.ts";
import { membersDue } from "../../memberships/members-due.ts";
import { FROM_BEGINNING } from "../../observers/room-gaps.ts";
import { PROVISIONING_DUE } from "../../provisioning-due.ts";
import type { DesiredRoom } from "../many/desired-room.ts";
import { findRoom, insertRoom, type Room } from "../rooms.ts";

/*
 * A Matrix room that existed before becomes a room of a tenant. Its history is a gap from the room's beginning: the job `room-sync` fills
 * it page by page, and goes on where it was after any failure. Until it is filled, `rooms.adopting` is set, and nobody can post: the
 * numbers of the history come first.
 */

/** `people`: Matrix ids of those who are in the room: they may stay. `since`: what is older is not taken over. */
export type Adoption = { matrixRoomId: string; since: Date | null; people: readonly string[] };

/**
 * Inserts a room for a Matrix room, in one transaction. Its gap has no end yet: `markObserverBack` sets it, from a position that was
 * read after the commit. A repeated call finds the room of the former one.
 * @throws AppError `conflict` when the key or the Matrix room is taken; `unavailable` as `insertRoom`.
 */
export function insertAdoptedRoom(
  db: Db,
  tenantId: string,
  address: RoomAddress,
  { desired, adoption }: { desired: DesiredRoom; adoption: Adoption },
): Promise<Room> {
  return transact(db, async (trx) => {
    const { matrixRoomId, since, people } = adoption;
    const existing = await findRoom(trx, tenantId, address);
    if (existing?.adopting === true && existing.matrix_room_id === matrixRoomId) return existing;
    if (existing) throw new AppError("conflict", `There is a room ${formatRoomKey(address)} already.`);
    const [taken] = await rowsOf<{ is_deleted: boolean }>(
      trx,
      "select deleted_at is not null as is_deleted from rooms where matrix_room_id = ?",
      [matrixRoomId],
    );
    if (taken) throw new AppError("conflict", describeTaken(taken.is_deleted));
    const isMade = await insertRoom(trx, tenantId, address, desired);
    const room = isMade ? await findRoom(trx, tenantId, address) : undefined;
    if (!room) throw new AppError("conflict", `There is a room ${formatRoomKey(address)} already.`);
    const bindings = { roomId: room.id, matrixRoomId, since, people: [...people], beginning: FROM_BEGINNING };
    await execute(trx, ADOPT, bindings);
    return room;
  });
}

function describeTaken(isDeleted: boolean): string {
  return isDeleted
    ? "The Matrix room was that of a room that is deleted."
    : "Another room has this Matrix room already.";
}

const ADOPT = `
  with timeline as (
    update room_timeline set gap_from = :beginning, not_before = cast(:since as timestamptz) where room_id = :roomId
  ), people as (
    insert into adopted_people (room_id, matrix_user_id)
    select cast(:roomId as uuid), p.id from unnest(cast(:people as text[])) as p(id) on conflict do nothing
  )
  update rooms set matrix_room_id = :matrixRoomId, adopting = true, ${PROVISIONING_DUE}, ${membersDue()} where id = :roomId`;

/**
 * Ends the adoption of a room whose gap was closed by this transaction: it takes messages, and its members have read the history.
 * Acts on what Matrix has no text of any more are dropped. Does nothing while the gap is open.
 */
export function endAdoption(roomId: string): Statement {
  return {
    sql: `with closed as (
       select t.room_id, t.last_number, t.message_count
         from room_timeline t join rooms r on r.id = t.room_id
        where t.room_id = :roomId and t.gap_from is null and r.adopting
     ), read as (
       update memberships s set read_number = c.last_number, receipt_number = c.last_number, read_count = c.message_count, own_above = 0
         from closed c where s.room_id = c.room_id and s.read_number < c.last_number
     ), dropped as (
       delete from waiting_acts w using closed c where w.room_id = c.room_id
     )
     update rooms r set adopting = false from closed c where r.id = c.room_id`,
    bindings: { roomId },
  };
}

/** For operators: how far an adopted room's history is read; null for a room that was not adopted, or that has it all. */
export async function readAdoption(db: Db, roomId: string): Promise<Record<string, unknown> | null> {
  const rows = await rowsOf<Record<string, unknown>>(
    db,
    `select 'reading' as state, t.last_number as entries, t.message_count as messages, t.not_before as since,
            (select e.at from timeline e where e.room_id = t.room_id and e.number = t.last_number) as "readUpTo",
            t.gap_attempts as "failedTries"
       from rooms r join room_timeline t on t.room_id = r.id where r.id = ? and r.adopting`,
    [roomId],
  );
  return rows[0] ?? null;
}
