import { expect, test } from "@jest/globals";
import { signUserToken, verifyUserToken, type TokenKeys } from "../../shared/auth/tokens.ts";

const secretOf = (byte: number) => Buffer.alloc(32, byte).toString("base64url");
const nowMs = 1_700_000_000_000;
const claims = { tenant: "acme", user: "ada" };
const keysOf = (kid: string, byte: number): TokenKeys => ({
  current: { kid, secret: secretOf(byte) },
  previous: null,
});

test("a token stays valid under the key that signed it", async () => {
  const { token } = await signUserToken(keysOf("a", 1), claims, { nowMs, lifetimeS: 60 });
  for (let time = 0; time < 3; time++) {
    expect(await verifyUserToken(keysOf("a", 1), "acme", token, nowMs)).toMatchObject({ user: "ada" });
  }
});

test("a token is refused under another secret with the same key id, also after it was verified", async () => {
  const { token } = await signUserToken(keysOf("a", 1), claims, { nowMs, lifetimeS: 60 });
  await verifyUserToken(keysOf("a", 1), "acme", token, nowMs);
  await expect(verifyUserToken(keysOf("a", 2), "acme", token, nowMs)).rejects.toMatchObject({
    code: "unauthorized",
  });
});

test("a token of the previous key is valid until that key is removed", async () => {
  const { token } = await signUserToken(keysOf("a", 1), claims, { nowMs, lifetimeS: 60 });
  const rotated = { current: keysOf("b", 2).current, previous: keysOf("a", 1).current };
  expect(await verifyUserToken(rotated, "acme", token, nowMs)).toMatchObject({ user: "ada" });
  await expect(verifyUserToken(keysOf("b", 2), "acme", token, nowMs)).rejects.toMatchObject({
    code: "unauthorized",
  });
});

test("a verified token is refused after it expired, and for another tenant with the same secret", async () => {
  const keys = keysOf("a", 1);
  const { token } = await signUserToken(keys, claims, { nowMs, lifetimeS: 60 });
  await verifyUserToken(keys, "acme", token, nowMs);
  await expect(verifyUserToken(keys, "acme", token, nowMs + 91_000)).rejects.toMatchObject({
    code: "token_expired",
  });
  await expect(verifyUserToken(keys, "other", token, nowMs)).rejects.toMatchObject({ code: "unauthorized" });
});
