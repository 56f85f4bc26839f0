import { z } from "zod";
import { cursorText, encodeCursor, nextCursor, pageLimit } from "./fields.ts";

/** The fields of a list's query. */
export const pageFields = { limit: pageLimit, cursor: cursorText.optional() };

/** A page of a list as answers have it. */
export function pageOf<Item extends z.ZodType>(item: Item, id: string) {
  return z.strictObject({ items: z.array(item), next: nextCursor }).meta({ id });
}

/**
 * A page of `limit` rows, of the `limit + 1` that were asked for, and the cursor of the next page: `positionOf` its last row.
 * It is null on the last page.
 */
export function toPage<Row>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => string,
): { rows: Row[]; next: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    rows: page,
    next: rows.length > page.length && last !== undefined ? encodeCursor(positionOf(last)) : null,
  };
}
