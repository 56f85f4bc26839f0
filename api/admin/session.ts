import { parseCookie } from "cookie";
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import type { SealKey } from "../../shared/platform/seal.ts";

export const SESSION_COOKIE = "omc_session";
export const SESSION_LIFETIME_MS = 8 * 3_600_000;

const sessionShape = z.tuple([
  z.string().regex(/^[a-z2-7]{16}$/),
  z.coerce.number().int(),
  z.string().min(1),
]);

/** A session names the key that logged in and its end: `<key id>.<expires at, ms>.<signature>`. */
export function signSession(sealKeys: readonly SealKey[], keyId: string, expiresAtMs: number): string {
  const [first] = sealKeys;
  if (!first) throw new Error("no seal key");
  return `${keyId}.${expiresAtMs}.${sign(first, keyId, expiresAtMs)}`;
}

/** The id of the key that logged in; null when the session has ended, was changed, or has an unknown signature. */
export function readSession(sealKeys: readonly SealKey[], session: string, nowMs: number): string | null {
  const parsed = sessionShape.safeParse(session.split("."));
  if (!parsed.success) return null;
  const [keyId, expiresAtMs, signature] = parsed.data;
  const isSigned = sealKeys.some((key) => isSame(sign(key, keyId, expiresAtMs), signature));
  return isSigned && expiresAtMs > nowMs ? keyId : null;
}

/** The session in a request's `Cookie` header. */
export function findSession(header: string | undefined): string | null {
  return parseCookie(header ?? "")[SESSION_COOKIE] ?? null;
}

/** A hash that stands for a session where it is stored: it opens nothing. */
export function nameSession(session: string): string {
  return createHash("sha256").update(session).digest("base64url");
}

function sign({ key }: SealKey, keyId: string, expiresAtMs: number): string {
  return createHmac("sha256", key).update(`admin session ${keyId} ${expiresAtMs}`).digest("base64url");
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
