import type { Requester } from "../http/client.ts";

/**
 * One homeserver, reached with one kind of credential. `as` makes calls for an account, bound to a device, so that a
 * repeated send is known to be the same; `ensureAccount` makes an account exist and able to speak, and may be repeated.
 */
export type Homeserver = {
  readonly id: string;
  readonly serverName: string;
  readonly baseUrl: string;
  as: (matrixUserId: string) => Promise<Requester>;
  ensureAccount: (matrixUserId: string) => Promise<void>;
  /** Ends every credential of an account, and the account. */
  removeAccount: (matrixUserId: string) => Promise<void>;
  /** Makes a credential for a plain Matrix client of a person. */
  login: (matrixUserId: string) => Promise<{ deviceId: string; accessToken: string }>;
};

/** The part of a Matrix user id between `@` and `:`. */
export function localpartOf(matrixUserId: string): string {
  return matrixUserId.slice(1, matrixUserId.indexOf(":"));
}
