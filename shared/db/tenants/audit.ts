import { newId } from "../../platform/ids.ts";
import type { Db } from "../connection/open.ts";

/** An operator's action. `actor` is a key's id or `cli`. `detail` has no secret and no content of a message. */
export type AuditEntry = {
  tenantId: string | null;
  actor: string;
  action: string;
  subject: string | null;
  detail?: Record<string, unknown>;
};

export async function insertAudit(
  db: Db,
  { tenantId, actor, action, subject, detail = {} }: AuditEntry,
): Promise<void> {
  await db("audit").insert({
    id: newId(),
    tenant_id: tenantId,
    actor,
    action,
    subject,
    detail: JSON.stringify(detail),
  });
}
