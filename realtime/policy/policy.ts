import type { TokenStamp } from "../../shared/auth/token-claims.ts";
import type { ConnectableState } from "../../shared/db/memberships/subscription-rights.ts";
import type { StreamTop, TopicRef } from "../channels/topic-ref.ts";

/**
 * The user of a connection, and when its token was signed and expires. `sockets`: how many the user and the tenant may have
 * open, where the tenant has limits of its own.
 */
export type Identity = {
  userRef: TopicRef;
  tenantId: string;
  expiresAtMs: number;
  stamp: TokenStamp;
  sockets: { ofUser: number | undefined; ofTenant: number | undefined };
};

/** Resolves when it is the turn of a user whose token is verified. What is read of the user is read after it. */
export type AwaitTurn = (caller: { tenantId: string; user: string }) => Promise<void>;

/** A room that a user may read, and its top at that moment. */
export type Grant = { ref: TopicRef; top: StreamTop };

/** `tokensValidFromMs`: tokens that were signed before are revoked. */
export type UserAccess = { state: ConnectableState; membershipVersion: string; tokensValidFromMs: number };
export type Rights = UserAccess & { grants: Grant[] };

/** Who may connect, with the rights at that moment. */
export type Allowed = { identity: Identity; rights: Rights };

/** Who may connect, and who may read what. */
export type Policy = {
  /**
   * `origin`: of the page; null where there is none. @throws AppError `unauthorized`, `token_expired`, or `forbidden` for
   * a user who is locked or gone, for a token that was revoked, and for a page that may not connect for the tenant.
   */
  authenticate(token: string, origin: string | null): Promise<Identity>;
  /** Like `authenticate`, by turns. The rights are read by the same statement. */
  allow(token: string, origin: string | null, awaitTurn: AwaitTurn): Promise<Allowed>;
  /** The state of a user and its most recently active rooms. */
  rightsOf(userId: string): Promise<Rights>;
  /** Of rooms by channel, those that the user may read. */
  findRooms(userId: string, channels: readonly string[]): Promise<Grant[]>;
  /** Of rooms by id, those that the user may read. */
  grantsOf(userId: string, roomIds: readonly string[]): Promise<Grant[]>;
  /** By user. A user who does not exist is absent. */
  userAccessOf(userIds: readonly string[]): Promise<Map<string, UserAccess>>;
};
