import { webcrypto } from "node:crypto";
import { LRUCache } from "lru-cache";
import { SignJWT, decodeJwt, decodeProtectedHeader, errors, jwtVerify } from "jose";
import { z } from "zod";
import { AppError } from "../contract/errors.ts";
import { tenantSlug, userName } from "../contract/names.ts";

const AUDIENCE = "openmeet-chat";
const MAX_LIFETIME_S = 86_400;
const SKEW_S = 30;

/** A tenant's signing keys. A token is valid under either, so that keys can be rotated. */
export const tokenKeys = z.strictObject({
  current: z.strictObject({ kid: z.string(), secret: z.string() }),
  previous: z.strictObject({ kid: z.string(), secret: z.string() }).nullable(),
});
export type TokenKeys = z.infer<typeof tokenKeys>;

export type UserClaims = { tenant: string; user: string; expiresAtMs: number };

const claimSet = z.object({
  iss: tenantSlug,
  sub: userName,
  iat: z.number().int(),
  exp: z.number().int(),
});

/** The tenant that a token names, before the token is verified; null if the text is no token. */
export function readTokenTenant(token: string): string | null {
  try {
    const parsed = tenantSlug.safeParse(decodeJwt(token).iss);
    return parsed.success ? parsed.data : null;
  } catch (error) {
    if (error instanceof errors.JWTInvalid) return null;
    throw error;
  }
}

/** Signs a user token with HS256 and the tenant's current key, valid for `lifetimeS` seconds from `nowMs`. */
export async function signUserToken(
  keys: TokenKeys,
  claims: { tenant: string; user: string },
  { nowMs, lifetimeS }: { nowMs: number; lifetimeS: number },
): Promise<{ token: string; expiresAtMs: number }> {
  const issuedAtS = Math.floor(nowMs / 1_000);
  const token = await new SignJWT({})
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
 * Verifies signature, issuer, audience and times (30 s of clock skew, a lifetime of at most 24 h).
 * @throws AppError `token_expired`, or `unauthorized` for anything else.
 */
export async function verifyUserToken(
  keys: TokenKeys,
  tenant: string,
  token: string,
  nowMs: number,
): Promise<UserClaims> {
  const known = verified.get(token);
  if (known && isStillValid(known, { keys, tenant, nowMs })) return known.claims;
  try {
    const { kid } = decodeProtectedHeader(token);
    const key = [keys.current, keys.previous].find((candidate) => candidate?.kid === kid);
    if (!key) throw new AppError("unauthorized", "The token is signed with a key that is not in use.");
    const { payload } = await jwtVerify(token, await imported.memo(key.secret), {
      algorithms: ["HS256"],
      issuer: tenant,
      audience: AUDIENCE,
      clockTolerance: SKEW_S,
      currentDate: new Date(nowMs),
    });
    const claims = claimSet.parse(payload);
    if (claims.exp - claims.iat > MAX_LIFETIME_S)
      throw new AppError("unauthorized", "The token lives longer than 24 hours.");
    if (claims.iat * 1_000 > nowMs + SKEW_S * 1_000)
      throw new AppError("unauthorized", "The token is of the future.");
    return remember(token, key.secret, {
      tenant: claims.iss,
      user: claims.sub,
      expiresAtMs: claims.exp * 1_000,
    });
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (error instanceof errors.JWTExpired)
      throw new AppError("token_expired", "The token has expired.", { cause: error });
    throw new AppError("unauthorized", "The token is not valid.", { cause: error });
  }
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
/** Secrets as keys, cached: importing one costs more than verifying a signature. */
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
