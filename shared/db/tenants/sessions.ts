import { newId } from "../../platform/ids.ts";
import { rowsOf, type Db } from "../connection/open.ts";
import type { KeyHolder } from "./api-keys.ts";

const ACTION = "logout";
/** Longer than any session lives. An older logout ends nothing any more. */
const LONGEST_SESSION_HOURS = 24;

/**
 * Ends an operator's session: the audit's row of the logout is what ends it, for every process and whatever Redis loses.
 * `session` is its name. Once more changes nothing.
 */
export async function endSession(db: Db, keyId: string, session: string): Promise<void> {
  await db.raw(
    `insert into audit (id, tenant_id, actor, action, subject)
     select :id, k.tenant_id, k.id, :action, :session
       from api_keys k
      where k.id = :keyId
        and not exists (select from audit a
                         where a.tenant_id = k.tenant_id and a.at > now() - make_interval(hours => :hours)
                           and a.action = :action and a.subject = :session)`,
    { id: newId(), keyId, session, action: ACTION, hours: LONGEST_SESSION_HOURS },
  );
}

/** Whether the session of that name was ended by `endSession`. */
export async function isSessionEnded(
  db: Db,
  { tenantId }: Pick<KeyHolder, "tenantId">,
  session: string,
): Promise<boolean> {
  const rows = await rowsOf(
    db,
    `select from audit
      where tenant_id = ? and at > now() - make_interval(hours => ?) and action = ? and subject = ?
      limit 1`,
    [tenantId, LONGEST_SESSION_HOURS, ACTION, session],
  );
  return rows.length > 0;
}
