import type { Connect, Requester } from "../http/client.ts";
import { localpartOf, type OpenedHomeserver } from "./homeserver.ts";
import { DEVICE_ID } from "./credential-store.ts";
import { MatrixFailure, unlessConflict } from "../http/failure.ts";
import { loginWithPassword, setPassword } from "./operator-login.ts";

export type AppserviceOptions = {
  id: string;
  serverName: string;
  baseUrl: string;
  connect: Connect;
  asToken: string;
  /** Only `login` needs it. */
  registrationSecret: string | null;
};

/** A homeserver on which our Application Service acts as all our accounts: no account has a token. */
export function createAppserviceHomeserver(options: AppserviceOptions): OpenedHomeserver {
  const { asToken, baseUrl } = options;
  const connection = options.connect(asToken);
  const as = (matrixUserId: string) => connection({ user_id: matrixUserId, device_id: DEVICE_ID });
  return {
    id: options.id,
    serverName: options.serverName,
    baseUrl,
    keepsTime: true,
    as: (matrixUserId) => Promise.resolve(as(matrixUserId)),
    ensureAccount: (matrixUserId) => ensureAccount(connection({}), matrixUserId),
    removeAccount: (matrixUserId) => deactivate(as(matrixUserId)),
    isDeactivated: (matrixUserId) => isGone(as(matrixUserId)),
    login: (matrixUserId) => login(options, matrixUserId),
    credentialVariable: "SYNAPSE_AS_TOKEN",
    checkCredential: async () => void (await connection({})({ method: "GET", path: "/account/whoami" })),
  };
}

async function ensureAccount(request: Requester, matrixUserId: string): Promise<void> {
  await unlessConflict(
    request({
      method: "POST",
      path: "/register",
      body: { type: "m.login.application_service", username: localpartOf(matrixUserId), inhibit_login: true },
    }),
  );
  await request({
    method: "PUT",
    path: `/devices/${DEVICE_ID}`,
    query: { user_id: matrixUserId },
    body: { display_name: "OpenMeet Chat" },
  });
}

/** What Synapse returns for a deactivated account, whose device is gone too. */
const GONE = new Set(["M_UNKNOWN_DEVICE", "M_USER_DEACTIVATED", "M_FORBIDDEN"]);

async function isGone(request: Requester): Promise<boolean> {
  try {
    await request({ method: "GET", path: "/account/whoami" });
    return false;
  } catch (error) {
    if (error instanceof MatrixFailure && GONE.has(error.errcode)) return true;
    throw error;
  }
}

async function deactivate(request: Requester): Promise<void> {
  try {
    await request({ method: "POST", path: "/account/deactivate", body: { erase: true } });
  } catch (error) {
    if (!(error instanceof MatrixFailure && GONE.has(error.errcode))) throw error;
  }
}

async function login(
  options: AppserviceOptions,
  matrixUserId: string,
): Promise<{ deviceId: string; accessToken: string }> {
  if (options.registrationSecret === null) {
    throw new Error(
      "Logging in needs the homeserver's registration secret: set SYNAPSE_REGISTRATION_SECRET.",
    );
  }
  const access = { ...options, registrationSecret: options.registrationSecret };
  await setPassword(access, matrixUserId);
  return loginWithPassword(access, matrixUserId, { displayName: "Plain Matrix client" });
}
