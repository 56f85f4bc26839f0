import type { TokenStamp } from "../../auth/token-claims.ts";
import { AppError } from "../../contract/errors.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import { transact } from "../connection/transaction.ts";
import { enqueueUserEvents } from "./user-event-outbox.ts";

/**
 * Which tokens a user holds:
 * - a token of a generation (ours): the user of that row id, while `iat` is not below `tokens_valid_from`;
 * - a token without one (the product's): the existing user of that name, while `iat` is not below `tokens_valid_from` and
 *   `product_tokens_valid_from`.
 *
 * `tokens_valid_from` is moved by `revokeUserTokens`. `product_tokens_valid_from` is set when a user gets the name of a deleted
 * one (`users.ts`). The rows of deleted users stay for ever, so that a deletion is known for longer than a token lives.
 * Both are read from the user's row by the statement that needs the user: nothing of them is cached.
 */
export type TokenBounds = { id: string; tokens_valid_from: Date; product_tokens_valid_from: Date };

/** Whether an existing user holds a verified token. */
export function isHeldBy(user: TokenBounds, { issuedAtMs, generation }: TokenStamp): boolean {
  if (issuedAtMs < user.tokens_valid_from.getTime()) return false;
  return generation === null
    ? issuedAtMs >= user.product_tokens_valid_from.getTime()
    : generation === user.id;
}

/** `isHeldBy` as a condition on a user `u`, for SQL expressions with a stamp's time (ms, may be null: no token) and generation. */
export function holdsToken({ issuedAtMs, generation }: { issuedAtMs: string; generation: string }): string {
  return `(${issuedAtMs} is null or (to_timestamp(${issuedAtMs} / 1000.0) >= u.tokens_valid_from
    and case when ${generation} is null then to_timestamp(${issuedAtMs} / 1000.0) >= u.product_tokens_valid_from
             else ${generation} = u.id end))`;
}

/** How far the bound may run ahead of the clock: below the skew that a token's `iat` may have. */
const MAX_LEAD_S = 10;

const REVOKE = `
  with changed as (
    update users set tokens_valid_from = greatest(to_timestamp(cast(:nowS as bigint)), tokens_valid_from) + interval '1 s'
     where tenant_id = :tenantId and external_id = :name and deleted_at is null
       and tokens_valid_from < to_timestamp(cast(:nowS as bigint) + cast(:maxLeadS as bigint))
    returning id, tokens_valid_from
  )
  select u.id, c.tokens_valid_from as "validFrom" from users u left join changed c on c.id = u.id
   where u.tenant_id = :tenantId and u.external_id = :name and u.deleted_at is null`;

/**
 * Refuses all tokens of an existing user that were signed before the next whole second, and enqueues the end of their
 * sockets. A bound that is ahead of the clock moves a second further, since tokens that were signed since have it as `iat`.
 * Returns the bound. @throws AppError `not_found`; `rate_limited` after ten revocations within a second.
 */
export async function revokeUserTokens(db: Db, tenantId: string, name: string, nowMs: number): Promise<Date> {
  return transact(db, async (trx) => {
    const bindings = { tenantId, name, nowS: Math.floor(nowMs / 1_000), maxLeadS: MAX_LEAD_S };
    const [user] = await rowsOf<{ id: string; validFrom: Date | null }>(trx, REVOKE, bindings);
    if (!user) throw new AppError("not_found", "There is no such user.");
    if (!user.validFrom)
      throw new AppError("rate_limited", "The user's tokens were revoked many times within a second.", {
        retryAfterMs: 1_000,
      });
    await enqueueUserEvents(trx, [{ tenantId, kind: "tokens.revoked", userId: user.id, roomId: null }]);
    return user.validFrom;
  });
}

/** From when on tokens of users are valid, by row id. */
export async function readTokensValidFrom(db: Db, userIds: readonly string[]): Promise<Map<string, Date>> {
  if (userIds.length === 0) return new Map();
  const rows = await rowsOf<Pick<TokenBounds, "id" | "tokens_valid_from">>(
    db,
    "select id, tokens_valid_from from users where id = any(?)",
    [userIds],
  );
  return new Map(rows.map(({ id, tokens_valid_from: validFrom }) => [id, validFrom]));
}
