import { findHomeserver, openHomeserverSecrets } from "../../../shared/db/homeservers/homeservers.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import { connectTo, type Requester } from "../http/client.ts";
import { createAdminHomeserver } from "./admin-homeserver.ts";
import { createAppserviceHomeserver } from "./appservice-homeserver.ts";
import type { OpenedHomeserver } from "./homeserver.ts";

/**
 * A homeserver by its row id, reached by the mode in its row. `wrap` gets every requester that calls it, so that nothing
 * calls the homeserver past the breaker and the counters.
 * @throws when the row does not exist, its secrets cannot be unsealed, or the secret of its mode is missing.
 */
export async function openHomeserver(
  db: Db,
  sealKeys: readonly SealKey[],
  id: string,
  wrap: (request: Requester) => Requester = (request) => request,
): Promise<OpenedHomeserver> {
  const row = await findHomeserver(db, id);
  if (!row) throw new Error("a tenant names a homeserver that is not in the database");
  const { asToken, registrationSecret } = openHomeserverSecrets(sealKeys, row);
  const base = {
    id: row.id,
    serverName: row.server_name,
    baseUrl: row.base_url,
    connect: connectTo(row.base_url, wrap),
  };
  if (row.mode === "appservice" && asToken !== null) {
    return createAppserviceHomeserver({ ...base, asToken, registrationSecret });
  }
  if (row.mode === "admin" && registrationSecret !== null) {
    return createAdminHomeserver({ ...base, registrationSecret, db, sealKeys });
  }
  throw new Error(`the homeserver's mode ${row.mode} needs a secret that was not given`);
}
