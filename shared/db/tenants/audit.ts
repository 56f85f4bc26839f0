import { newId } from "../../platform/ids.ts";
import type { Db } from "../connection/open.ts";

/** An operator's deed. `actor` is a key's id or `cli`; `detail` holds no secret and nobody's words. */
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
