import type { Db } from "../../shared/db/connection/open.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import { replaceEpochs } from "../../shared/db/timeline/replace-epochs.ts";

/**
 * To be run once after Postgres was restored from a backup, before the processes start: numbers that clients received since
 * the backup are given out again. Each room gets a new epoch, so that clients start again. Audited. May be repeated.
 */
export async function markRestored(db: Db): Promise<{ rooms: number }> {
  await insertAudit(db, { tenantId: null, actor: "cli", action: "restored", subject: null });
  return { rooms: await replaceEpochs(db) };
}
