import { z } from "zod";
import { AppError } from "../contract/errors.ts";
import { tenantSlug, userName } from "../contract/names.ts";

export const AUDIENCE = "openmeet-chat";
export const SKEW_S = 30;
const MAX_LIFETIME_S = 86_400;

/**
 * When a token was signed, and for which user: `generation` is the row id, which no other user has who gets the same
 * name. It is null in a token that the product signs: the product knows names only.
 */
export type TokenStamp = { issuedAtMs: number; generation: string | null };

/** What a verified token says. */
export type UserClaims = { tenant: string; user: string; expiresAtMs: number; stamp: TokenStamp };

/** The claim with the user's generation. */
export const GENERATION = "omc_gen";

// RFC 7519 allows fractions of a second in times.
const claimSet = z.object({
  iss: tenantSlug,
  sub: userName,
  iat: z.number(),
  exp: z.number(),
  [GENERATION]: z.uuid().optional(),
});

const RULES: Readonly<Record<string, string>> = {
  aud: `must be ${AUDIENCE}`,
  sub: "must be a user id",
  iat: "must be a number, the time of signing in seconds",
  exp: "must be a number, the time of expiry in seconds",
  nbf: "must be a number, a time in seconds that has come",
  [GENERATION]: "must be as the server signed it",
};

/** The claims of a token with a valid signature. @throws AppError `unauthorized`, which names the claim. */
export function readClaims(payload: unknown, nowMs: number): UserClaims {
  const parsed = claimSet.safeParse(payload);
  if (!parsed.success) throw claimError(String(parsed.error.issues[0]?.path[0]));
  const { iss: tenant, sub: user, iat, exp, [GENERATION]: generation = null } = parsed.data;
  if (exp - iat > MAX_LIFETIME_S) throw claimError("exp", "must be at most 24 hours after iat");
  if (iat > nowMs / 1_000 + SKEW_S) throw claimError("iat", "is of the future");
  const stamp = { issuedAtMs: Math.floor(iat * 1_000), generation };
  return { tenant, user, expiresAtMs: Math.floor(exp * 1_000), stamp };
}

/** A token with a valid signature that is refused for one claim. It names no tenant. */
export function claimError(
  claim: string,
  rule = RULES[claim] ?? "is not as it must be",
  cause?: unknown,
): AppError {
  return new AppError("unauthorized", `The token is not valid: its claim ${claim} ${rule}.`, { cause });
}
