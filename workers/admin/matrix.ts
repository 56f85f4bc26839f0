import type { Config } from "../../shared/platform/config.ts";
import { insertAudit } from "../../shared/db/tenants/audit.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import type { MatrixLogin } from "./matrix-login.ts";
import { requireTenant } from "./tenants.ts";

/** Logs in as one of the tenant's users. The audit entry is written before the login. */
export async function logInToMatrix(
  db: Db,
  config: Config,
  { tenant: slug, user }: { tenant: string; user: string },
): Promise<MatrixLogin> {
  const tenant = await requireTenant(db, slug);
  await insertAudit(db, { tenantId: tenant.id, actor: "cli", action: "matrix.login", subject: user });
  // Only this command needs the Matrix client, which is slow to load.
  const { loginUser } = await import("./matrix-login.ts");
  return loginUser({ db, config, tenantSlug: slug, user });
}
