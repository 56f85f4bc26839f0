import { AppError } from "../../contract/errors.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { tenantLimits } from "./tenants.ts";

const RETRY_AFTER_MS = 5_000;

/** What a tenant may have only a number of that Matrix does not have yet: the table and the tenant's limit. */
const PENDING = {
  users: { table: "users", limit: "pendingUsers" },
  rooms: { table: "rooms", limit: "pendingRooms" },
} as const;

/**
 * Requires that a tenant may have `added` more pending users or rooms. Reads as many rows of a small index as the limit
 * has at most. Call it in the transaction that makes them. Transactions that run at the same moment do not count each
 * other's.
 * @throws AppError `unavailable`, with the time to wait.
 */
export async function requirePendingQuota(
  trx: Db,
  tenantId: string,
  what: keyof typeof PENDING,
  added: number,
): Promise<void> {
  const { table, limit } = PENDING[what];
  const [row] = await rowsOf<{ most: number; pending: number }>(
    trx,
    `with quota as (
       select coalesce(cast(limits ->> :limit as integer), :otherwise) as most from tenants where id = :tenantId
     )
     select quota.most, (
       select count(*) from (
         select 1 from ${table} where tenant_id = :tenantId and status = 'pending' and deleted_at is null
          limit (select most from quota)
       ) counted
     ) as pending from quota`,
    { tenantId, limit, otherwise: tenantLimits.shape[limit].parse(undefined) },
  );
  if (!row || row.pending + added <= row.most) return;
  throw new AppError(
    "unavailable",
    `Too many ${what} of this tenant are not made on Matrix yet. Try again later.`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}
