import { LRUCache } from "lru-cache";
import { AppError } from "../../shared/contract/errors.ts";
import { userName } from "../../shared/contract/names.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { findUser } from "../../shared/db/users/users.ts";
import type { Caller, KeyCaller, UserCaller } from "./authenticate.ts";

export const ACT_AS = "Act-As";

/** A key that calls as the same person by the same route is written to the audit once in an hour. */
const AUDITED_FOR_MS = 3_600_000;
const MAX_AUDITED = 10_000;
/** No token is signed later than the key's right to act: a revocation of tokens does not end it. In ms, the end of `Date`. */
const ALWAYS_MS = 8.64e15;

/**
 * The person as whom a server key calls: with that person's rights, bound to the row that has the name now. `action`: the
 * route, for the audit, which is written before the call.
 * @throws AppError `wrong_credential` for any other credential, `not_found` for an unknown user.
 */
export type ActAs = (holder: Caller, name: string, action: string) => Promise<UserCaller>;

export function createActAs({ db, now }: { db: Db; now: () => number }): ActAs {
  const audited = new LRUCache<string, true>({
    ...{ max: MAX_AUDITED, ttl: AUDITED_FOR_MS },
    ...{ ttlResolution: 0, perf: { now } },
  });
  const auditOnce = async ({ tenantId, keyId }: KeyCaller, subject: string, action: string) => {
    const name = `${keyId} ${subject} ${action}`;
    if (audited.has(name)) return;
    await insertAudit(db, { tenantId, actor: keyId, action: `as user: ${action}`, subject });
    audited.set(name, true);
  };
  return async (holder, name, action) => {
    if (holder.kind !== "server")
      throw new AppError("wrong_credential", `The header ${ACT_AS} needs a server key.`);
    const { tenantId, tenantSlug, limits, keyId } = holder;
    const user = userName.safeParse(name).success ? await findUser(db, tenantId, name) : undefined;
    if (!user) throw new AppError("not_found", "There is no such user.");
    await auditOnce(holder, name, action);
    const stamp = { issuedAtMs: ALWAYS_MS, generation: user.id };
    return { kind: "user", tenantId, tenantSlug, user: name, stamp, limits, keyId };
  };
}
