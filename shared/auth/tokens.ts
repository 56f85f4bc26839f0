import { webcrypto } from "node:crypto";
import { LRUCache } from "lru-cache";
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader, errors } from "jose";
import { z } from "zod";
import { AppError } from "../contract/errors.ts";
import { tenantSlug } from "../contract/names.ts";
import { isSignedWith, withoutSignature } from "./token-signature.ts";
import { AUDIENCE, claimError, GENERATION, readClaims, SKEW_S, type UserClaims } from "./token-claims.ts";

/** A tenant's signing keys. A token is valid under either, so that keys can be rotated. */
export const tokenKeys = z.strictObject({
  current: z.strictObject({ kid: z.string(), secret: z.string() }),
  previous: z.strictObject({ kid: z.string(), secret: z.string() }).nullable(),
});
export type TokenKeys = z.infer<typeof tokenKeys>;

/** The tenant and the key that a token names, before it is verified. The tenant is null if the text is no token. */
export function readTokenIssuer(token: string): { tenant: string | null; kid: string } {
  try {
    const parsed = tenantSlug.safeParse(decodeJwt(token).iss);
    return { tenant: parsed.data ?? null, kid: decodeProtectedHeader(token).kid ?? "" };
  } catch (error) {
    // The second is that of a header that is no header.
    if (error instanceof errors.JWTInvalid || error instanceof TypeError) return { tenant: null, kid: "" };
    throw error;
  }
}

export function hasKey(keys: TokenKeys, kid: string): boolean {
  return keys.current.kid === kid || keys.previous?.kid === kid;
}

/**
 * Signs a user token with HS256 and the tenant's current key, valid for `lifetimeS` seconds from `nowMs`, or from
 * `validFromMs` if that is later. Without a generation it is like a token that the product signs.
 */
export async function signUserToken(
  keys: TokenKeys,
  claims: { tenant: string; user: string; generation?: string },
  { nowMs, validFromMs = 0, lifetimeS }: { nowMs: number; validFromMs?: number; lifetimeS: number },
): Promise<{ token: string; expiresAtMs: number }> {
  const issuedAtS = Math.max(Math.floor(nowMs / 1_000), Math.ceil(validFromMs / 1_000));
  const token = await new SignJWT(claims.generation === undefined ? {} : { [GENERATION]: claims.generation })
    .setProtectedHeader({ alg: "HS256", kid: keys.current.kid, typ: "JWT" })
    .setIssuer(claims.tenant)
    .setAudience(AUDIENCE)
    .setSubject(claims.user)
    .setIssuedAt(issuedAtS)
    .setExpirationTime(issuedAtS + lifetimeS)
    .sign(await imported.memo(keys.current.secret));
  return { token, expiresAtMs: (issuedAtS + lifetimeS) * 1_000 };
}

/**
 * Verifies signature, issuer, audience and times (30 s of clock skew, a lifetime of at most 24 h). Whether the user still
 * holds the token is the row's to say: `isHeldBy`.
 * @throws AppError `token_expired`, or `unauthorized`: in the same words for a tenant that does not exist
 *   (`unknownTokenError`), a key that is not in use and a wrong signature; after a valid signature it names the claim.
 */
export function verifyUserToken(keys: TokenKeys, tenant: string, token: string, nowMs: number): UserClaims {
  const known = verified.get(token);
  if (known && isStillValid(known, { keys, tenant, nowMs })) return known.claims;
  try {
    const { kid, alg, crit } = decodeProtectedHeader(token);
    const key = [keys.current, keys.previous].find((candidate) => candidate?.kid === kid);
    if (!key || alg !== "HS256" || crit !== undefined) throw unknownTokenError();
    if (!isSignedWith(key.secret, token)) throw unknownTokenError();
    const { payload } = UnsecuredJWT.decode(withoutSignature(token), {
      issuer: tenant,
      audience: AUDIENCE,
      clockTolerance: SKEW_S,
      currentDate: new Date(nowMs),
    });
    return remember(token, key.secret, readClaims(payload, nowMs));
  } catch (error) {
    throw translateRefusal(error);
  }
}

/** A token that no key in use has signed. An outsider does not learn which tenants exist. */
export function unknownTokenError(cause?: unknown): AppError {
  return new AppError("unauthorized", "The token is not valid.", { cause });
}

function translateRefusal(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof errors.JWTExpired)
    return new AppError("token_expired", "The token has expired.", { cause: error });
  if (error instanceof errors.JWTClaimValidationFailed) return claimError(error.claim, undefined, error);
  return unknownTokenError(error);
}

const MAX_VERIFIED = 10_000;
/** Longest token that is cached, in characters. Ours have about 300. */
const MAX_CACHED_LENGTH = 2_048;
type Verified = { secret: string; claims: UserClaims };
/** Verified tokens with the secret that signed them: a browser sends the same token for an hour. */
const verified = new LRUCache<string, Verified>({ max: MAX_VERIFIED });

function remember(token: string, secret: string, claims: UserClaims): UserClaims {
  if (token.length <= MAX_CACHED_LENGTH) verified.set(token, { secret, claims });
  return claims;
}

/** Checks what can have changed since the verification: the tenant's keys, and the time. */
function isStillValid(
  { secret, claims }: Verified,
  { keys, tenant, nowMs }: { keys: TokenKeys; tenant: string; nowMs: number },
): boolean {
  const isInUse = secret === keys.current.secret || secret === keys.previous?.secret;
  return isInUse && claims.tenant === tenant && nowMs < claims.expiresAtMs;
}

const MAX_IMPORTED = 2_000;
/** Secrets as keys, cached: importing one costs more than a signature. */
const imported = new LRUCache<string, Promise<webcrypto.CryptoKey>>({
  max: MAX_IMPORTED,
  memoMethod: (secret) =>
    webcrypto.subtle.importKey(
      "raw",
      Buffer.from(secret, "base64url"),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign", "verify"],
    ),
});
