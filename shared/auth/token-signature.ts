import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Whether HS256 with a secret (base64url) gives the signature of a token of three parts. It runs at once: as a task of
 * another thread, as in WebCrypto, it takes four times as long.
 */
export function isSignedWith(secret: string, token: string): boolean {
  const end = token.lastIndexOf(".");
  const digest = createHmac("sha256", Buffer.from(secret, "base64url"))
    .update(token.slice(0, end))
    .digest("base64url");
  // The texts are compared: a signature has one spelling.
  const expected = Buffer.from(digest);
  const found = Buffer.from(token.slice(end + 1));
  return found.byteLength === expected.byteLength && timingSafeEqual(found, expected);
}

const UNSECURED_HEADER = Buffer.from('{"alg":"none"}').toString("base64url");

/** A token whose signature was verified, as one without a signature: so the claims alone are left to check. */
export function withoutSignature(token: string): string {
  const [, claims = ""] = token.split(".");
  return `${UNSECURED_HEADER}.${claims}.`;
}
