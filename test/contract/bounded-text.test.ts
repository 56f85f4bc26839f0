import { describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { boundedText } from "../../shared/contract/bounded-text.ts";

const text = boundedText(12);
const described = new RegExp(String(z.toJSONSchema(text).pattern), "u");

describe("a bounded text", () => {
  test.each([
    ["nothing", ""],
    ["a space", " "],
    ["tabs and newlines", "\t\n \n"],
    ["no-break spaces", "\u00a0\u202f\u2007"],
    ["an ideographic space", "\u3000"],
    ["zero-width spaces", "\u200b\u200b"],
    ["a joiner", "\u200d"],
    ["a word joiner", "\u2060"],
    ["a byte order mark", "\ufeff"],
    ["directions of text", "\u202e\u2066\u061c"],
    ["a soft hyphen", "\u00ad"],
    ["a Hangul filler", "\u3164"],
    ["a variation selector alone", "\ufe0f"],
  ])("is refused with only %s, by the server and by the described pattern", (_what, value) => {
    expect(text.safeParse(value).success).toBe(false);
    expect(described.test(value)).toBe(false);
  });

  test("is refused with only tags, which are above U+FFFF", () => {
    expect(text.safeParse("\u{e0041}").success).toBe(false);
  });

  test.each([
    ["a letter between spaces", " a "],
    ["a letter after a zero-width space", "\u200bб"],
    ["an emoji with a variation selector", "❤\ufe0f"],
    ["a family joined by joiners", "👩\u200d🚀"],
    ["a combining mark alone", "\u0301"],
    ["lines", "a\n\tb"],
  ])("is accepted unchanged with %s, by the server and by the described pattern", (_what, value) => {
    expect(text.parse(value)).toBe(value);
    expect(described.test(value)).toBe(true);
  });

  test("counts bytes, not characters", () => {
    expect(text.safeParse("é".repeat(6)).success).toBe(true);
    expect(text.safeParse("é".repeat(7)).success).toBe(false);
  });
});
