import type { Requester } from "../http/client.ts";

/** One homeserver, reached with one kind of credential. */
export type Homeserver = {
  readonly id: string;
  readonly serverName: string;
  readonly baseUrl: string;
  /** Whether an event that we send may be given the time at which it happened. */
  readonly keepsTime: boolean;
  /** Calls as an account, from one device, so that the homeserver recognises a repeated send. */
  as: (matrixUserId: string) => Promise<Requester>;
  /** Creates the account unless it exists, and makes it able to send. May be repeated. */
  ensureAccount: (matrixUserId: string) => Promise<void>;
  /** Removes the account and all its credentials. */
  removeAccount: (matrixUserId: string) => Promise<void>;
  /**
   * Whether the account was deactivated: it leaves all its rooms then. With an Application Service also an account all of whose
   * devices were logged out.
   */
  isDeactivated: (matrixUserId: string) => Promise<boolean>;
  /** Creates a credential for a person's own Matrix client. */
  login: (matrixUserId: string) => Promise<{ deviceId: string; accessToken: string }>;
};

/** A homeserver with the credential that we reach it with. */
export type OpenedHomeserver = Homeserver & {
  /** The variable of the environment that the credential comes from. */
  readonly credentialVariable: "SYNAPSE_AS_TOKEN" | "SYNAPSE_REGISTRATION_SECRET";
  /**
   * Asks whether the homeserver knows our credential. `isThorough` also tries what only a restart of the homeserver changes.
   * @throws MatrixFailure
   */
  checkCredential: (options: { isThorough: boolean }) => Promise<void>;
};

/** The part of a Matrix user id between `@` and `:`. */
export function localpartOf(matrixUserId: string): string {
  return matrixUserId.slice(1, matrixUserId.indexOf(":"));
}
