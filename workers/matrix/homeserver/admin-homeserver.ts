import { createHash } from "node:crypto";
import { z } from "zod";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import type { Requester } from "../http/client.ts";
import { createCredentialStore, DEVICE_ID, type CredentialStore } from "./credential-store.ts";
import { MatrixFailure, unlessMissing } from "../http/failure.ts";
import type { OpenedHomeserver } from "./homeserver.ts";
import { loginWithPassword, registerWithSecret, type RegistrationAccess } from "./operator-login.ts";

export type AdminOptions = RegistrationAccess & {
  id: string;
  baseUrl: string;
  db: Db;
  sealKeys: readonly SealKey[];
};

/**
 * A homeserver without an Application Service of ours: accounts are registered with its shared secret, and each has a token
 * of its own. The homeserver's rate limits are meant for people who type; they are too low for observers, and for senders
 * whose messages we have accepted already. An administrator account of ours lifts them for each account.
 */
export function createAdminHomeserver(options: AdminOptions): OpenedHomeserver {
  const { baseUrl, serverName, id } = options;
  const operatorId = operatorIdOf(options);
  const store = createCredentialStore({
    ...options,
    homeserverId: id,
    access: options,
    adminId: operatorId,
  });
  const as = (matrixUserId: string): Requester => renewing(store, matrixUserId);
  return {
    id,
    serverName,
    baseUrl,
    keepsTime: false,
    as: (matrixUserId) => Promise.resolve(as(matrixUserId)),
    ensureAccount: async (matrixUserId) => {
      await store.ensure(matrixUserId);
      await store.ensure(operatorId);
      await liftLimits(as(operatorId), matrixUserId);
    },
    removeAccount: (matrixUserId) => removeAccount(store, operatorId, as(operatorId), matrixUserId),
    isDeactivated: async (matrixUserId) => {
      await store.ensure(operatorId);
      return isDeactivated(as(operatorId), matrixUserId);
    },
    login: (matrixUserId) => loginWithPassword(options, matrixUserId, { displayName: "Plain Matrix client" }),
    credentialVariable: "SYNAPSE_REGISTRATION_SECRET",
    checkCredential: async ({ isThorough }) => {
      await store.ensure(operatorId);
      if (isThorough) await checkSecret(options, operatorId);
      await as(operatorId)({ method: "GET", path: "/account/whoami" });
    },
  };
}

/** The same for all processes with the same secret; without the secret it cannot be guessed. */
function operatorIdOf({ registrationSecret, serverName }: RegistrationAccess): string {
  const digest = createHash("sha256").update(`operator ${registrationSecret}`).digest("hex");
  return `@omc_operator_${digest.slice(0, 20)}:${serverName}`;
}

/** The operator's account exists: with the right secret the homeserver says so, and changes nothing. */
async function checkSecret(access: RegistrationAccess, operatorId: string): Promise<void> {
  await registerWithSecret(access, { matrixUserId: operatorId, deviceId: DEVICE_ID, isAdmin: true });
}

/** Calls with the account's token. A refused token is renewed once, and the call is repeated. */
function renewing(store: CredentialStore, matrixUserId: string): Requester {
  return async (call) => {
    const actor = await store.get(matrixUserId);
    try {
      return await actor.request(call);
    } catch (error) {
      if (!(error instanceof MatrixFailure && error.kind === "auth")) throw error;
    }
    const renewed = await store.renew(matrixUserId, actor.accessToken);
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

const account = z.object({ deactivated: z.boolean() });

async function isDeactivated(operator: Requester, matrixUserId: string): Promise<boolean> {
  const path = `/users/${encodeURIComponent(matrixUserId)}`;
  const found = await unlessMissing(operator({ method: "GET", prefix: "/_synapse/admin/v2", path }));
  return account.safeParse(found).data?.deactivated ?? false;
}

/** Deactivates the account, which ends all its tokens, and deletes ours. */
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
