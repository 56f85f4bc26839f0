import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export type SealKey = { id: string; key: Buffer };

/** The owner of a secret. A sealed text opens only with the context that it was sealed with. */
export type SealContext = { tenant: string; row: string };

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals with the first key: `<key id>.<base64url of nonce, tag, text>` (AES-256-GCM). */
export function seal(keys: readonly SealKey[], context: SealContext, secret: string): string {
  const first = keys[0];
  if (!first) throw new Error("no seal key");
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", first.key, nonce);
  cipher.setAAD(associatedData(context));
  const body = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return `${first.id}.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64url")}`;
}

/** Opens a text that `seal` returned. @throws for an unknown key id, another context, or changed bytes. */
export function unseal(keys: readonly SealKey[], context: SealContext, sealed: string): string {
  const dot = sealed.indexOf(".");
  const keyId = sealed.slice(0, dot);
  const key = keys.find((candidate) => candidate.id === keyId);
  if (!key) throw new Error(`sealed with key "${keyId}", which SEAL_KEYS does not hold`);
  const bytes = Buffer.from(sealed.slice(dot + 1), "base64url");
  const decipher = createDecipheriv("aes-256-gcm", key.key, bytes.subarray(0, NONCE_BYTES));
  decipher.setAAD(associatedData(context));
  decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
  return text.toString("utf8");
}

function associatedData({ tenant, row }: SealContext): Buffer {
  return Buffer.from(JSON.stringify([tenant, row]), "utf8");
}
