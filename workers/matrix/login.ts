import type { Config } from "../../shared/config.ts";
import { findHomeserver, openHomeserverSecrets } from "../../shared/db/homeservers.ts";
import { rowsOf, type Db } from "../../shared/db/open.ts";
import { AppError } from "../../shared/errors.ts";
import type { Log } from "../../shared/log.ts";
import { createAppserviceHomeserver } from "./appservice.ts";

export type MatrixLogin = { homeserverUrl: string; matrixUserId: string; deviceId: string; accessToken: string };

/** A credential with which an operator's plain Matrix client acts as one of the tenant's people. */
export async function loginUser(input: {
  db: Db;
  config: Config;
  log: Log;
  tenantSlug: string;
  user: string;
}): Promise<MatrixLogin> {
  const { db, config } = input;
  const rows = await rowsOf<{ homeserver_id: string; matrix_user_id: string; tenant_id: string }>(
    db,
    `select t.homeserver_id, t.id as tenant_id, u.matrix_user_id from users u join tenants t on t.id = u.tenant_id
      where t.slug = ? and u.external_id = ? and u.deleted_at is null`,
    [input.tenantSlug, input.user],
  );
  const user = rows[0];
  if (!user) throw new AppError("not_found", "There is no such tenant or user.");
  const row = await findHomeserver(db, user.homeserver_id);
  if (!row) throw new AppError("not_found", "The tenant's homeserver is not known.");
  const { asToken, registrationSecret } = openHomeserverSecrets(config.sealKeys, row);
  if (asToken === null) throw new AppError("conflict", "The homeserver has no Application Service token.");
  const homeserver = createAppserviceHomeserver({
    id: row.id,
    serverName: row.server_name,
    baseUrl: row.base_url,
    asToken,
    registrationSecret,
  });
  await homeserver.ensureAccount({ tenantId: user.tenant_id, matrixUserId: user.matrix_user_id });
  const login = await homeserver.login(user.matrix_user_id);
  return { homeserverUrl: row.base_url, matrixUserId: user.matrix_user_id, ...login };
}
