import { createHmac } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
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
    expect(verifyUserToken(keysOf("a", 1), "acme", token, nowMs)).toMatchObject({ user: "ada" });
  }
});

test("a token is refused under another secret with the same key id, also after it was verified", async () => {
  const { token } = await signUserToken(keysOf("a", 1), claims, { nowMs, lifetimeS: 60 });
  verifyUserToken(keysOf("a", 1), "acme", token, nowMs);
  expect(() => verifyUserToken(keysOf("a", 2), "acme", token, nowMs)).toThrow(
    expect.objectContaining({ code: "unauthorized" }),
  );
});

test("a token of the previous key is valid until that key is removed", async () => {
  const { token } = await signUserToken(keysOf("a", 1), claims, { nowMs, lifetimeS: 60 });
  const rotated = { current: keysOf("b", 2).current, previous: keysOf("a", 1).current };
  expect(verifyUserToken(rotated, "acme", token, nowMs)).toMatchObject({ user: "ada" });
  expect(() => verifyUserToken(keysOf("b", 2), "acme", token, nowMs)).toThrow(
    expect.objectContaining({ code: "unauthorized" }),
  );
});

test("a verified token is refused after it expired, and for another tenant with the same secret", async () => {
  const keys = keysOf("a", 1);
  const { token } = await signUserToken(keys, claims, { nowMs, lifetimeS: 60 });
  verifyUserToken(keys, "acme", token, nowMs);
  expect(() => verifyUserToken(keys, "acme", token, nowMs + 91_000)).toThrow(
    expect.objectContaining({ code: "token_expired" }),
  );
  expect(() => verifyUserToken(keys, "other", token, nowMs)).toThrow(
    expect.objectContaining({ code: "unauthorized" }),
  );
});

describe("a token is refused", () => {
  const keys = keysOf("a", 1);
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const payload = {
    ...{ iss: "acme", aud: "openmeet-chat", sub: "ada" },
    ...{ iat: nowMs / 1_000, exp: nowMs / 1_000 + 60 },
  };
  const header = { alg: "HS256", kid: "a", typ: "JWT" };
  const signed = (head: object, hash = "sha256", claims: unknown = payload) => {
    const text = `${encode(head)}.${encode(claims)}`;
    return `${text}.${createHmac(hash, Buffer.alloc(32, 1)).update(text).digest("base64url")}`;
  };
  const good = signed(header);

  test("never when it is as the product signs it", () => {
    expect(verifyUserToken(keys, "acme", good, nowMs)).toMatchObject({ user: "ada" });
  });

  test.each([
    ["without an algorithm", `${encode({ ...header, alg: "none" })}.${encode(payload)}.`],
    ["that names no algorithm and is signed", signed({ ...header, alg: "none" })],
    ["of another algorithm", signed({ ...header, alg: "HS512" }, "sha512")],
    ["that names another algorithm than it is signed with", signed({ ...header, alg: "HS512" })],
    ["with an extension that is critical", signed({ ...header, crit: ["b64"], b64: false })],
    ["with an unknown key", signed({ ...header, kid: "b" })],
    ["without a key id", signed({ alg: "HS256" })],
    ["without a signature", good.slice(0, good.lastIndexOf(".") + 1)],
    ["of two parts", good.slice(0, good.lastIndexOf("."))],
    ["of four parts", `${good}.${good.split(".")[2] ?? ""}`],
    ["with a padded signature", `${good}=`],
    ["with a longer signature", `${good}A`],
    ["with a blank behind it", `${good} `],
    ["with other claims", signed(header).replace(encode(payload), encode({ ...payload, sub: "bob" }))],
    ["with claims that are no object", signed(header, "sha256", "ada")],
    ["that is no token", "ada"],
  ])("%s", (_name, token) => {
    expect(() => verifyUserToken(keys, "acme", token, nowMs)).toThrow(
      expect.objectContaining({ code: "unauthorized", message: "The token is not valid." }),
    );
  });
});
