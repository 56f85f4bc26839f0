import { rowsOf, type Db } from "../connection/open.ts";

// Locked in the order of all transactions.
const REPLACE_EPOCHS = `
  with locked as (
    select room_id from room_timeline where room_id > :after order by room_id limit :limit for update
  ), replaced as (
    update room_timeline t set epoch = gen_random_uuid() from locked l where t.room_id = l.room_id
    returning t.room_id
  ), marked as (
    insert into unpublished_rooms (room_id) select room_id from replaced order by room_id on conflict do nothing
  )
  select room_id from replaced order by room_id`;

const FIRST = "00000000-0000-0000-0000-000000000000";
const ROOMS_AT_ONCE = 500;

/** Gives every room a new epoch, 500 in a transaction, and marks it as unpublished. Returns how many rooms there are. */
export async function replaceEpochs(db: Db): Promise<number> {
  let count = 0;
  for (let after = FIRST; ;) {
    const rows = await rowsOf<{ room_id: string }>(db, REPLACE_EPOCHS, { after, limit: ROOMS_AT_ONCE });
    count += rows.length;
    const last = rows.at(-1);
    if (!last || rows.length < ROOMS_AT_ONCE) return count;
    after = last.room_id;
  }
}
