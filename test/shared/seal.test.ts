import { expect, test } from "@jest/globals";
import { seal, unseal } from "../../shared/platform/seal.ts";

const old = { id: "old", key: Buffer.alloc(32, 1) };
const fresh = { id: "new", key: Buffer.alloc(32, 2) };
const context = { tenant: "t", row: "r" };

test("a sealed secret opens again, also when another key seals by now", () => {
  const sealed = seal([old], context, "geheim 🔑");
  expect(sealed).toMatch(/^old\./);
  expect(unseal([old], context, sealed)).toBe("geheim 🔑");
  expect(unseal([fresh, old], context, sealed)).toBe("geheim 🔑");
  expect(seal([fresh, old], context, "x")).toMatch(/^new\./);
});

test("one secret sealed twice gives two different texts", () => {
  expect(seal([old], context, "x")).not.toBe(seal([old], context, "x"));
});

test("a secret sealed for one row opens for no other row and no other tenant", () => {
  const sealed = seal([old], context, "x");
  expect(() => unseal([old], { tenant: "t", row: "other" }, sealed)).toThrow();
  expect(() => unseal([old], { tenant: "other", row: "r" }, sealed)).toThrow();
  expect(() => unseal([old], { tenant: "tr", row: "" }, sealed)).toThrow();
});

test("a sealed text that was changed, or whose key is missing, does not open", () => {
  const sealed = seal([old], context, "x");
  const at = sealed.length - 3;
  expect(() =>
    unseal([old], context, `${sealed.slice(0, at)}${sealed[at] === "A" ? "B" : "A"}${sealed.slice(at + 1)}`),
  ).toThrow();
  expect(() => unseal([fresh], context, sealed)).toThrow(/SEAL_KEYS/);
});
