import { setTimeout as sleep } from "node:timers/promises";
import {
  deleteCredential,
  findCredential,
  saveCredential,
  type Credential,
} from "../../../shared/db/homeservers/credentials.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { SealKey } from "../../../shared/platform/seal.ts";
import type { Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import { loginWithPassword, registerWithSecret, type RegistrationAccess } from "./operator-login.ts";

/** Accounts whose tokens one process keeps opened; the least used is opened again when needed. */
const OPENED_AT_MOST = 5_000;

/** Device that every account of ours speaks from: a homeserver remembers transaction ids per device, for a day. */
export const DEVICE_ID = "OPENMEET";
const OUR_DEVICE = { deviceId: DEVICE_ID, displayName: "OpenMeet Chat" };

/** What another process that registers the same account may need to keep its token. */
const SETTLE_MS = 500;

/** A token, and how to call with it. */
export type Actor = { accessToken: string; request: Requester };

/**
 * The device-bound tokens of a homeserver's accounts: kept sealed in Postgres, opened in memory, renewed once however
 * many calls find one refused.
 */
export type CredentialStore = {
  /** The account's token. @throws when the account was never registered. */
  get: (matrixUserId: string) => Promise<Actor>;
  /** Registers the account unless its token is known; a registration whose answer was lost is made good by logging in. */
  ensure: (matrixUserId: string) => Promise<Actor>;
  /** Another token than the one that was refused; of an account that the homeserver has forgotten, by making it again. */
  renew: (matrixUserId: string, refused: string) => Promise<Actor>;
  forget: (matrixUserId: string) => Promise<void>;
};

export function createCredentialStore(options: {
  db: Db;
  sealKeys: readonly SealKey[];
  homeserverId: string;
  access: RegistrationAccess;
  /** The account that is registered as an administrator. */
  adminId: string;
  connect: (accessToken: string) => Requester;
}): CredentialStore {
  const { db, sealKeys, homeserverId, connect } = options;
  const issuer = createIssuer(options);
  const opened = new Map<string, Actor>();
  // One call per account brings a token, however many wait for it: homeservers allow few logins.
  const bringing = new Map<string, Promise<Actor>>();
  const bringOnce = (matrixUserId: string, bring: () => Promise<Actor>): Promise<Actor> => {
    const running = bringing.get(matrixUserId) ?? bring().finally(() => bringing.delete(matrixUserId));
    bringing.set(matrixUserId, running);
    return running;
  };

  const remember = (matrixUserId: string, speaker: Actor): Actor => {
    opened.delete(matrixUserId);
    opened.set(matrixUserId, speaker);
    const oldest = opened.keys().next();
    if (opened.size > OPENED_AT_MOST && !oldest.done) opened.delete(oldest.value);
    return speaker;
  };
  const speak = ({ accessToken }: Credential): Actor => ({
    accessToken,
    request: connect(accessToken),
  });
  const save = async (matrixUserId: string, credential: Credential): Promise<Actor> => {
    await saveCredential(db, sealKeys, homeserverId, matrixUserId, credential);
    return remember(matrixUserId, speak(credential));
  };
  const find = async (matrixUserId: string): Promise<Actor | null> => {
    const known = opened.get(matrixUserId);
    if (known) return remember(matrixUserId, known);
    const kept = await findCredential(db, sealKeys, homeserverId, matrixUserId);
    return kept && remember(matrixUserId, speak(kept));
  };
  const renewOnce = async (matrixUserId: string, refused: string): Promise<Actor> => {
    opened.delete(matrixUserId);
    // Another process may have renewed it already.
    const kept = await find(matrixUserId);
    if (kept && kept.accessToken !== refused) return kept;
    return save(matrixUserId, await issuer.loginOrRegister(matrixUserId));
  };
  const register = async (matrixUserId: string): Promise<Actor> => {
    const registered = await issuer.register(matrixUserId);
    if (registered !== null) return save(matrixUserId, registered);
    // Another process may have registered it this moment and be about to keep its token.
    await sleep(SETTLE_MS);
    return (await find(matrixUserId)) ?? save(matrixUserId, await issuer.login(matrixUserId));
  };
  return {
    get: async (matrixUserId) =>
      (await find(matrixUserId)) ??
      bringOnce(matrixUserId, async () => save(matrixUserId, await issuer.login(matrixUserId))),
    ensure: async (matrixUserId) =>
      (await find(matrixUserId)) ?? bringOnce(matrixUserId, () => register(matrixUserId)),
    renew: (matrixUserId, refused) => bringOnce(matrixUserId, () => renewOnce(matrixUserId, refused)),
    forget: async (matrixUserId) => {
      opened.delete(matrixUserId);
      await deleteCredential(db, homeserverId, matrixUserId);
    },
  };
}

/** How the homeserver gives an account's token. */
function createIssuer({ access, adminId }: { access: RegistrationAccess; adminId: string }) {
  const login = (matrixUserId: string): Promise<Credential> =>
    loginWithPassword(access, matrixUserId, OUR_DEVICE);
  /** Null when there is such an account. */
  const register = (matrixUserId: string): Promise<Credential | null> =>
    registerWithSecret(access, { matrixUserId, deviceId: DEVICE_ID, isAdmin: matrixUserId === adminId });
  const loginOrRegister = async (matrixUserId: string): Promise<Credential> => {
    try {
      return await login(matrixUserId);
    } catch (error) {
      const isRefused = error instanceof MatrixFailure && error.kind === "forbidden";
      const registered = isRefused ? await register(matrixUserId) : null;
      if (registered === null) throw error;
      return registered;
    }
  };
  return { login, register, loginOrRegister };
}
