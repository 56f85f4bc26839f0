import type { z } from "zod";
import { AppError, type FieldError } from "../../shared/contract/errors.ts";

export const MAX_BODY_BYTES = 65_536;
const MAX_DEPTH = 8;
const MAX_ERRORS = 20;

/** Control characters other than tab and newline, and lone surrogates. */
const REFUSED_CHARACTER = /(?![\t\n])[\p{Cc}\p{Cs}]/u;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Parses a JSON body. An absent optional body is undefined.
 * @throws AppError `unsupported_media_type`, `malformed`, or `invalid` for refused characters and deep nesting.
 */
export function readJson(
  bytes: Buffer,
  contentType: string | undefined,
  allowed: { types: readonly string[]; isOptional: boolean },
): unknown {
  if (bytes.length === 0 && allowed.isOptional) return undefined;
  requireJsonType(contentType, allowed.types);
  const value = parseJson(bytes);
  const errors: FieldError[] = [];
  findErrors(value, [], errors);
  if (errors.length > 0) throw new AppError("invalid", "The body holds what no text may hold.", { errors });
  return value;
}

function requireJsonType(contentType: string | undefined, types: readonly string[]): void {
  const [type = "", ...parameters] = (contentType ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  const isUtf8 = parameters.every(
    (parameter) => !parameter.startsWith("charset=") || /^charset="?utf-8"?$/.test(parameter),
  );
  if (!types.includes(type) || !isUtf8) {
    throw new AppError("unsupported_media_type", `Send ${types.join(" or ")} in UTF-8.`);
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (error) {
    throw new AppError("malformed", "The body is not JSON in UTF-8.", { cause: error });
  }
}

function findErrors(value: unknown, path: readonly string[], errors: FieldError[]): void {
  if (errors.length >= MAX_ERRORS) return;
  if (typeof value === "string") {
    if (REFUSED_CHARACTER.test(value))
      errors.push({ path: path.join("."), message: "holds a control character or half a surrogate pair" });
  } else if (typeof value === "object" && value !== null) {
    if (path.length >= MAX_DEPTH) {
      errors.push({ path: path.join("."), message: "is nested too deeply" });
      return;
    }
    // The items of a list that is the whole body have no field before them.
    const isWholeList = path.length === 0 && Array.isArray(value);
    for (const [key, inner] of Object.entries(value)) {
      if (key === "__proto__" || REFUSED_CHARACTER.test(key)) {
        errors.push({ path: path.join("."), message: "has a field whose name is refused" });
      } else findErrors(inner, [...path, isWholeList ? `[${key}]` : key], errors);
    }
  }
}

/** Parses a value with its schema. @throws AppError `invalid` with all errors, by dotted path. */
export function checkShape<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new AppError("invalid", `The ${what} is not valid.`, { errors: describeIssues(parsed.error.issues) });
}

export function describeIssues(issues: readonly z.core.$ZodIssue[]): FieldError[] {
  return issues
    .flatMap((issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => ({
            path: [...issue.path, key].map(String).join("."),
            message: "is not known",
          }))
        : [{ path: issue.path.map(String).join("."), message: issue.message }],
    )
    .slice(0, MAX_ERRORS);
}
