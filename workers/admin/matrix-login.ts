import type { Config } from "../../shared/platform/config.ts";
import type { Db } from "../../shared/db/connection/open.ts";
import { findAccount } from "../../shared/db/users/user-provisioning.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { openHomeserver } from "../matrix/homeserver/open-homeserver.ts";

export type MatrixLogin = {
  homeserverUrl: string;
  matrixUserId: string;
  deviceId: string;
  accessToken: string;
};

/** Creates a credential with which an operator's Matrix client acts as one of the tenant's users. */
export async function loginUser(input: {
  db: Db;
  config: Config;
  tenantSlug: string;
  user: string;
}): Promise<MatrixLogin> {
  const { db, config } = input;
  const user = await findAccount(db, input.tenantSlug, input.user);
  if (!user) throw new AppError("not_found", "There is no such tenant or user.");
  const homeserver = await openHomeserver(db, config.sealKeys, user.homeserver_id);
  await homeserver.ensureAccount(user.matrix_user_id);
  const login = await homeserver.login(user.matrix_user_id);
  // PUBLIC_SYNAPSE_URL is that of the configured homeserver; any other has only the address that we use.
  const isConfigured = homeserver.baseUrl === config.homeserver.baseUrl;
  const homeserverUrl = isConfigured ? config.publicSynapseUrl : homeserver.baseUrl;
  return { homeserverUrl, matrixUserId: user.matrix_user_id, ...login };
}
