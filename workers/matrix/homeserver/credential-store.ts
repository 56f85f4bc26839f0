import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
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

/** Accounts whose unsealed tokens one process keeps; the least recently used one is read again when needed. */
const OPENED_AT_MOST = 5_000;

/** The device of every account of ours: a homeserver remembers transaction ids per device, for a day. */
export const DEVICE_ID = "OPENMEET";
const OUR_DEVICE = { deviceId: DEVICE_ID, displayName: "OpenMeet Chat" };

/** How long another process that registers the same account may need to save its token. */
const SETTLE_MS = 500;

/** An account's token, and calls with it. */
export type Actor = { accessToken: string; request: Requester };

/**
 * The device-bound tokens of a homeserver's accounts: sealed in Postgres, unsealed in memory. A refused token is renewed
 * once, for all calls that it was refused to.
 */
export type CredentialStore = {
  /** The account's token. @throws when the account was never registered. */
  get: (matrixUserId: string) => Promise<Actor>;
  /** Registers the account unless its token is known. After a registration whose response was lost it logs in. */
  ensure: (matrixUserId: string) => Promise<Actor>;
  /** Another token than the refused one. An account that the homeserver does not know any more is registered again. */
  renew: (matrixUserId: string, refused: string) => Promise<Actor>;
  remove: (matrixUserId: string) => Promise<void>;
};

type StoreOptions = {
  db: Db;
  sealKeys: readonly SealKey[];
  homeserverId: string;
  access: RegistrationAccess;
  /** The account that is registered as an administrator. */
  adminId: string;
};

export function createCredentialStore(options: StoreOptions): CredentialStore {
  const actors = createActorCache(options);
  const issuer = createIssuer(options);
  const fetchOnce = createSharedFetch();
  const renew = async (matrixUserId: string, refused: string): Promise<Actor> => {
    actors.drop(matrixUserId);
    // Another process may have renewed it already.
    const kept = await actors.find(matrixUserId);
    if (kept && kept.accessToken !== refused) return kept;
    return actors.save(matrixUserId, await issuer.loginOrRegister(matrixUserId));
  };
  const register = async (matrixUserId: string): Promise<Actor> => {
    const registered = await issuer.register(matrixUserId);
    if (registered !== null) return actors.save(matrixUserId, registered);
    // Another process may have just registered it, and be about to save its token.
    await sleep(SETTLE_MS);
    return (await actors.find(matrixUserId)) ?? actors.save(matrixUserId, await issuer.login(matrixUserId));
  };
  return {
    get: async (matrixUserId) =>
      (await actors.find(matrixUserId)) ??
      fetchOnce(matrixUserId, async () => actors.save(matrixUserId, await issuer.login(matrixUserId))),
    ensure: async (matrixUserId) =>
      (await actors.find(matrixUserId)) ?? fetchOnce(matrixUserId, () => register(matrixUserId)),
    renew: (matrixUserId, refused) => fetchOnce(matrixUserId, () => renew(matrixUserId, refused)),
    remove: actors.remove,
  };
}

/** One fetch per account gives a token to all callers that wait for it: homeservers allow few logins. */
function createSharedFetch() {
  const running = new Map<string, Promise<Actor>>();
  return (matrixUserId: string, fetch: () => Promise<Actor>): Promise<Actor> => {
    const shared = running.get(matrixUserId) ?? fetch().finally(() => running.delete(matrixUserId));
    running.set(matrixUserId, shared);
    return shared;
  };
}

/** Tokens as Postgres keeps them, the last used ones in memory. */
function createActorCache({ db, sealKeys, homeserverId, access }: StoreOptions) {
  const opened = new LRUCache<string, Actor>({ max: OPENED_AT_MOST });
  const open = (matrixUserId: string, { accessToken }: Credential): Actor => {
    const actor = { accessToken, request: access.connect(accessToken)({}) };
    opened.set(matrixUserId, actor);
    return actor;
  };
  return {
    find: async (matrixUserId: string): Promise<Actor | null> => {
      const known = opened.get(matrixUserId);
      if (known) return known;
      const kept = await findCredential(db, sealKeys, homeserverId, matrixUserId);
      return kept && open(matrixUserId, kept);
    },
    save: async (matrixUserId: string, credential: Credential): Promise<Actor> => {
      await saveCredential(db, sealKeys, homeserverId, matrixUserId, credential);
      return open(matrixUserId, credential);
    },
    drop: (matrixUserId: string): void => void opened.delete(matrixUserId),
    remove: async (matrixUserId: string): Promise<void> => {
      opened.delete(matrixUserId);
      await deleteCredential(db, homeserverId, matrixUserId);
    },
  };
}

/** How the homeserver issues an account's token. */
function createIssuer({ access, adminId }: { access: RegistrationAccess; adminId: string }) {
  const login = (matrixUserId: string): Promise<Credential> =>
    loginWithPassword(access, matrixUserId, OUR_DEVICE);
  /** Null when the account exists. */
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
