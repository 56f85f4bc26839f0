import type { ConnectableState } from "../../shared/db/memberships/subscription-rights.ts";
import type { ErrorCode } from "../../shared/contract/errors.ts";

/**
 * Why a socket is closed. With 3000–3499 the client reconnects, with back-off; with 3500–3999 it does not reconnect.
 */
export const CLOSE = {
  shutdown: { code: 3001, reason: "shutdown" },
  /** An outage of ours: a connect that got no reply in time. */
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
  /** The user has opened more sockets than one user may have: the oldest ends. */
  connectionLimit: { code: 3504, reason: "connection limit" },
  inappropriateProtocol: { code: 3506, reason: "inappropriate protocol" },
  notAvailable: { code: 3508, reason: "not available" },
  tooManyErrors: { code: 3509, reason: "too many errors" },
} as const;
export type Close = { readonly code: number; readonly reason: string };

/** A message over the limit of bytes: a code of the WebSocket protocol, with which the client does not reconnect. */
export const MESSAGE_TOO_BIG: Close = { code: 1009, reason: "message too big" };

/** Why a command is refused. The client repeats a command after a temporary error only. */
export const REPLY_ERROR = {
  internal: { code: 100, message: "internal server error", temporary: true },
  permissionDenied: { code: 103, message: "permission denied", temporary: false },
  alreadySubscribed: { code: 105, message: "already subscribed", temporary: false },
  limitExceeded: { code: 106, message: "limit exceeded", temporary: false },
  badRequest: { code: 107, message: "bad request", temporary: false },
  notAvailable: { code: 108, message: "not available", temporary: false },
  tokenExpired: { code: 109, message: "token expired", temporary: false },
  /** At a refresh it is temporary: the client asks again, and its next token may be good. */
  refreshExpired: { code: 109, message: "token expired", temporary: true },
  tooManyRequests: { code: 111, message: "too many requests", temporary: true },
  unrecoverable: { code: 112, message: "unrecoverable position", temporary: false },
} as const;
export type ReplyError = { readonly code: number; readonly message: string; readonly temporary: boolean };

/** Why a subscription ends. Below 2500 it ends for good; from 2500 on the client subscribes again by itself. */
export const UNSUBSCRIBE = {
  server: { code: 2000, reason: "server unsubscribe" },
  insufficientState: { code: 2500, reason: "insufficient state" },
} as const;
export type Unsubscribe = (typeof UNSUBSCRIBE)[keyof typeof UNSUBSCRIBE];

type ConnectRefusal = { close: Close } | { error: ReplyError };
const TEMPORARY: ConnectRefusal = { error: REPLY_ERROR.internal };
const PERMANENT: ConnectRefusal = { close: CLOSE.badRequest };

/** How a connect is refused. After a close the client does not reconnect; after an error it does. */
export const CONNECT_REFUSAL = {
  unauthorized: { close: CLOSE.invalidToken },
  wrong_credential: { close: CLOSE.invalidToken },
  token_expired: { error: REPLY_ERROR.tokenExpired },
  forbidden: { close: CLOSE.forceDisconnect },
  not_found: { close: CLOSE.invalidToken },
  method_not_allowed: PERMANENT,
  malformed: PERMANENT,
  invalid: PERMANENT,
  conflict: PERMANENT,
  too_many_roles: PERMANENT,
  too_large: PERMANENT,
  unsupported_media_type: PERMANENT,
  idempotency_key_reused: PERMANENT,
  rate_limited: TEMPORARY,
  internal: TEMPORARY,
  unavailable: TEMPORARY,
} as const satisfies Record<ErrorCode, ConnectRefusal>;

/** Why the connection of a user ends who may not connect any more. The same codes refuse that user's connect. */
export const USER_STATE_CLOSE = {
  gone: CLOSE.forceDisconnect,
  paused: CLOSE.invalidToken,
} as const satisfies Record<Exclude<ConnectableState, "active">, Close>;

/** Why the connection of a revoked token ends. The same code refuses its connect. */
export const REVOKED_CLOSE = CLOSE.forceDisconnect;

/** The close that a control message names by its code. An unknown code closes for good. */
export function closeOfCode(code: number): Close {
  return Object.values(CLOSE).find((close) => close.code === code) ?? CLOSE.forceDisconnect;
}
