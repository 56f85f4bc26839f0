import type { EntryRow } from "../../db/timeline/entries.ts";
import type { Delivery } from "./define.ts";

/** Where a cursor stands, and the last number of the room's timeline, read before `rows`. */
type Position = { tenantId: string; roomId: string; position: number; lastNumber: number };

/**
 * What is delivered next: the entries in order, and a gap for each run of numbers that is missing. `rows`: the first
 * entries after the position, `limit` at most; fewer are all that exist up to the last number.
 */
export function planDeliveries(
  { tenantId, roomId, position, lastNumber }: Position,
  rows: readonly EntryRow[],
  limit: number,
): Delivery[] {
  const place = { tenantId, roomId };
  const deliveries: Delivery[] = [];
  let next = position + 1;
  const addGap = (end: number) => {
    if (next < end) deliveries.push({ ...place, type: "gap", from: next, to: end - 1 });
  };
  for (const entry of rows) {
    addGap(entry.number);
    deliveries.push({ ...place, type: "entry", number: entry.number, entry });
    next = entry.number + 1;
  }
  if (rows.length < limit) addGap(lastNumber + 1);
  return deliveries;
}
