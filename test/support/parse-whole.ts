import { expect } from "@jest/globals";
import type { z } from "zod";

/** Parses what a server sent, and fails when it holds a field that its schema does not name: clients ignore such fields. */
export function parseWhole<T>(schema: z.ZodType<T>, sent: unknown): T {
  const parsed = schema.parse(sent);
  expect(parsed).toEqual(sent);
  return parsed;
}
