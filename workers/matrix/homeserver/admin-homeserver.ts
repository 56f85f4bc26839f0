import { createHash } from "node:crypto";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import { createConnection, type Requester } from "../http/client.ts";
import { createCredentialStore, type CredentialStore } from "./credential-store.ts";
import { MatrixFailure, unlessMissing } from "../http/failure.ts";
import type { Homeserver } from "./homeserver.ts";
import { loginWithPassword, type RegistrationAccess } from "./operator-login.ts";

export type AdminOptions = RegistrationAccess & { id: string; db: Db; sealKeys: readonly SealKey[] };

/**
 * A homeserver whose operator installs no Application Service: accounts are registered with its shared secret, each
 * speaks with a token of its own. The homeserver's limits for a person at a keyboard do not fit a room's observer, nor
 * people whose messages were accepted elsewhere: an administrator account of ours lifts them for each account.
 */
export function createAdminHomeserver(options: AdminOptions): Homeserver {
  const { baseUrl, serverName, id } = options;
  const operatorId = operatorIdOf(options);
  const store = createCredentialStore({
    ...options,
    homeserverId: id,
    access: options,
    adminId: operatorId,
    connect: (accessToken) => createConnection({ baseUrl, accessToken })({}),
  });
  const as = (matrixUserId: string): Requester => renewing(store, matrixUserId);
  return {
    id,
    serverName,
    baseUrl,
    as: (matrixUserId) => Promise.resolve(as(matrixUserId)),
    ensureAccount: async (matrixUserId) => {
      await store.ensure(matrixUserId);
      await store.ensure(operatorId);
      await liftLimits(as(operatorId), matrixUserId);
    },
    removeAccount: (matrixUserId) => removeAccount(store, operatorId, as(operatorId), matrixUserId),
    login: (matrixUserId) => loginWithPassword(options, matrixUserId, { displayName: "Plain Matrix client" }),
  };
}

/** The same account for every process that holds the same secret, and for nobody else. */
function operatorIdOf({ registrationSecret, serverName }: RegistrationAccess): string {
  const digest = createHash("sha256").update(`operator ${registrationSecret}`).digest("hex");
  return `@omc_operator_${digest.slice(0, 20)}:${serverName}`;
}

/** Calls with the account's token; one that is refused is renewed, once, and the call repeated. */
function renewing(store: CredentialStore, matrixUserId: string): Requester {
  return async (call) => {
    const speaker = await store.get(matrixUserId);
    try {
      return await speaker.request(call);
    } catch (error) {
      if (!(error instanceof MatrixFailure && error.kind === "auth")) throw error;
    }
    const renewed = await store.renew(matrixUserId, speaker.accessToken);
    return renewed.request(call);
  };
}

async function liftLimits(operator: Requester, matrixUserId: string): Promise<void> {
  await operator({
    method: "POST",
    prefix: "/_synapse/admin/v1",
    path: `/users/${encodeURIComponent(matrixUserId)}/override_ratelimit`,
    body: { messages_per_second: 0, burst_count: 0 },
  });
}

/** The account ends, every token of it with it, and ours is forgotten: nothing is left that could speak for it. */
async function removeAccount(
  store: CredentialStore,
  operatorId: string,
  operator: Requester,
  matrixUserId: string,
): Promise<void> {
  await store.ensure(operatorId);
  await unlessMissing(
    operator({
      method: "POST",
      prefix: "/_synapse/admin/v1",
      path: `/deactivate/${encodeURIComponent(matrixUserId)}`,
      body: { erase: true },
    }),
  );
  await store.remove(matrixUserId);
}
