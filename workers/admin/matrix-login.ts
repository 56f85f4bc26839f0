import type { Config } from "../../shared/platform/config.ts";
import { rowsOf, type Db } from "../../shared/db/connection/open.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { openHomeserver } from "../matrix/homeserver/open-homeserver.ts";

export type MatrixLogin = {
  homeserverUrl: string;
  matrixUserId: string;
  deviceId: string;
  accessToken: string;
};

/** A credential with which an operator's plain Matrix client acts as one of the tenant's people. */
export async function loginUser(input: {
  db: Db;
  config: Config;
  tenantSlug: string;
  user: string;
}): Promise<MatrixLogin> {
  const { db, config } = input;
  const rows = await rowsOf<{ homeserver_id: string; matrix_user_id: string }>(
    db,
    `select t.homeserver_id, u.matrix_user_id from users u join tenants t on t.id = u.tenant_id
      where t.slug = ? and u.external_id = ? and u.deleted_at is null`,
    [input.tenantSlug, input.user],
  );
  const user = rows[0];
  if (!user) throw new AppError("not_found", "There is no such tenant or user.");
  const homeserver = await openHomeserver(db, config.sealKeys, user.homeserver_id);
  await homeserver.ensureAccount(user.matrix_user_id);
  const login = await homeserver.login(user.matrix_user_id);
  // Only of the homeserver of the configuration is it known where others reach it.
  const isConfigured = homeserver.baseUrl === config.homeserver.baseUrl;
  const homeserverUrl = isConfigured ? config.publicSynapseUrl : homeserver.baseUrl;
  return { homeserverUrl, matrixUserId: user.matrix_user_id, ...login };
}
