import { webcrypto } from "node:crypto";
import { SignJWT, decodeJwt, decodeProtectedHeader, errors, jwtVerify } from "jose";
import { z } from "zod";
import { AppError } from "../contract/errors.ts";
import { tenantSlug, userName } from "../contract/names.ts";

const AUDIENCE = "openmeet-chat";
const MAX_LIFETIME_S = 86_400;
const SKEW_S = 30;

/** A tenant's signing keys; a token is good under either, so that keys can be rotated. */
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

/** The tenant that a token says it is of, before anything about it is believed; null when it is no token. */
export function readTokenTenant(token: string): string | null {
  try {
    const parsed = tenantSlug.safeParse(decodeJwt(token).iss);
    return parsed.success ? parsed.data : null;
  } catch (error) {
    if (error instanceof errors.JWTInvalid) return null;
    throw error;
  }
}

/** A user token: HS256, `kid` of the tenant's current key. `lifetimeS` seconds from `nowMs`. */
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
    .sign(await importSecret(keys.current.secret));
  return { token, expiresAtMs: (issuedAtS + lifetimeS) * 1_000 };
}

/**
 * Checks signature, issuer, audience and times (30 s skew, at most 24 h of life).
 * @throws AppError `token_expired`, or `unauthorized` for anything else.
 */
export async function verifyUserToken(
  keys: TokenKeys,
  tenant: string,
  token: string,
  nowMs: number,
): Promise<UserClaims> {
  const known = believed.get(token);
  if (known && isStillGood(known, { keys, tenant, nowMs })) return known.claims;
  try {
    const { kid } = decodeProtectedHeader(token);
    const key = [keys.current, keys.previous].find((candidate) => candidate?.kid === kid);
    if (!key) throw new AppError("unauthorized", "The token is signed with a key that is not in use.");
    const { payload } = await jwtVerify(token, await importSecret(key.secret), {
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

const BELIEVED_AT_MOST = 10_000;
/** Characters; ours have some three hundred. */
const LONGEST_BELIEVED = 2_048;
/** Tokens that were checked, with the secret that they are good under: a browser shows the same one for an hour. */
const believed = new Map<string, { secret: string; claims: UserClaims }>();

function remember(token: string, secret: string, claims: UserClaims): UserClaims {
  if (token.length > LONGEST_BELIEVED) return claims;
  if (believed.size >= BELIEVED_AT_MOST) believed.clear();
  believed.set(token, { secret, claims });
  return claims;
}

/** What can have changed since: the tenant's keys, and the time. */
function isStillGood(
  { secret, claims }: { secret: string; claims: UserClaims },
  { keys, tenant, nowMs }: { keys: TokenKeys; tenant: string; nowMs: number },
): boolean {
  const isInUse = secret === keys.current.secret || secret === keys.previous?.secret;
  return isInUse && claims.tenant === tenant && nowMs < claims.expiresAtMs;
}

const SECRETS_AT_MOST = 2_000;
const imported = new Map<string, Promise<webcrypto.CryptoKey>>();

/** A secret as a key, imported once: importing costs more than checking a signature. At most 2,000 are kept. */
function importSecret(secret: string): Promise<webcrypto.CryptoKey> {
  const known = imported.get(secret);
  if (known) return known;
  const key = webcrypto.subtle.importKey(
    "raw",
    Buffer.from(secret, "base64url"),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign", "verify"],
  );
  if (imported.size >= SECRETS_AT_MOST) imported.clear();
  imported.set(secret, key);
  return key;
}
