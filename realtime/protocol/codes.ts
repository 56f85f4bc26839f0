import type { ConnectableState } from "../../shared/db/memberships/subscription-rights.ts";
import type { ErrorCode } from "../../shared/contract/errors.ts";

/**
 * Why a socket is closed. The number tells the client what to do: 3000–3499 come back (with back-off), 3500–3999 stay
 * away.
 */
export const CLOSE = {
  shutdown: { code: 3001, reason: "shutdown" },
  /** Of ours: a connect that was not answered in time. */
  internal: { code: 3004, reason: "internal server error" },
  expired: { code: 3005, reason: "connection expired" },
  slow: { code: 3008, reason: "slow" },
  insufficientState: { code: 3010, reason: "insufficient state" },
  noPong: { code: 3012, reason: "no pong" },
  tooManyRequests: { code: 3013, reason: "too many requests" },
  invalidToken: { code: 3500, reason: "invalid token" },
  badRequest: { code: 3501, reason: "bad request" },
  stale: { code: 3502, reason: "stale" },
  forceDisconnect: { code: 3503, reason: "force disconnect" },
  inappropriateProtocol: { code: 3506, reason: "inappropriate protocol" },
  notAvailable: { code: 3508, reason: "not available" },
  tooManyErrors: { code: 3509, reason: "too many errors" },
} as const;
export type Close = { readonly code: number; readonly reason: string };

/** Why a command is refused. Only a temporary error makes the client try the same again. */
export const REPLY_ERROR = {
  internal: { code: 100, message: "internal server error", temporary: true },
  permissionDenied: { code: 103, message: "permission denied", temporary: false },
  alreadySubscribed: { code: 105, message: "already subscribed", temporary: false },
  limitExceeded: { code: 106, message: "limit exceeded", temporary: false },
  badRequest: { code: 107, message: "bad request", temporary: false },
  notAvailable: { code: 108, message: "not available", temporary: false },
  tokenExpired: { code: 109, message: "token expired", temporary: false },
  /** At a refresh: temporary, or the client would leave for ever though its next token may be good. */
  refreshExpired: { code: 109, message: "token expired", temporary: true },
  tooManyRequests: { code: 111, message: "too many requests", temporary: true },
  unrecoverable: { code: 112, message: "unrecoverable position", temporary: false },
} as const;
export type ReplyError = { readonly code: number; readonly message: string; readonly temporary: boolean };

/** Why one subscription is ended: below 2500 for good, from 2500 on the client subscribes again by itself. */
export const UNSUBSCRIBE = {
  server: { code: 2000, reason: "server unsubscribe" },
  insufficientState: { code: 2500, reason: "insufficient state" },
} as const;
export type Unsubscribe = (typeof UNSUBSCRIBE)[keyof typeof UNSUBSCRIBE];

type ConnectRefusal = { close: Close } | { error: ReplyError };
const NOT_NOW: ConnectRefusal = { error: REPLY_ERROR.internal };
const NEVER: ConnectRefusal = { close: CLOSE.badRequest };

/** What a refused connect answers: a close is for good, an error lets the client come back. */
export const CONNECT_REFUSAL = {
  unauthorized: { close: CLOSE.invalidToken },
  wrong_credential: { close: CLOSE.invalidToken },
  token_expired: { error: REPLY_ERROR.tokenExpired },
  forbidden: { close: CLOSE.forceDisconnect },
  not_found: { close: CLOSE.invalidToken },
  malformed: NEVER,
  invalid: NEVER,
  conflict: NEVER,
  too_many_roles: NEVER,
  too_large: NEVER,
  unsupported_media_type: NEVER,
  idempotency_key_reused: NEVER,
  rate_limited: NOT_NOW,
  internal: NOT_NOW,
  unavailable: NOT_NOW,
} as const satisfies Record<ErrorCode, ConnectRefusal>;

/** Why somebody who was let in may not stay; as for one who asks to be let in. */
export const USER_STATE_CLOSE = {
  gone: CLOSE.forceDisconnect,
  paused: CLOSE.invalidToken,
} as const satisfies Record<Exclude<ConnectableState, "active">, Close>;

/** The close of an order that names a number; one that is not in the table closes for good all the same. */
export function closeOfCode(code: number): Close {
  return Object.values(CLOSE).find((close) => close.code === code) ?? CLOSE.forceDisconnect;
}
