import { pino, type Logger } from "pino";

export type Log = Logger;

/** Field names under which a secret or the text of a message could get into a log line. */
const REDACTED = [
  "token",
  "accessToken",
  "access_token",
  "authorization",
  "password",
  "secret",
  "text",
  "body",
  "key",
];

/** Writes JSON lines to standard output. Fields that may hold a secret or the text of a message are removed by name. */
export function createLog(options: { level: string; tier: string }): Log {
  return pino({
    level: options.level,
    base: { tier: options.tier, pid: process.pid },
    redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: serializeError },
  });
}

/** Keeps type, code, message, stack and causes of an error. Other fields may hold a request, so they are dropped. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: scrub(String(error)) };
  const code: unknown = "code" in error ? error.code : undefined;
  return {
    type: error.name,
    code,
    message: scrub(error.message),
    stack: scrub(error.stack ?? ""),
    ...(error.cause === undefined ? {} : { cause: serializeError(error.cause) }),
  };
}

/** Removes Matrix ids, tokens and URLs from a text of a library or a homeserver. */
export function scrub(text: string): string {
  return text
    .replace(/(?:[@!#]|%40|%21|%23)[A-Za-z0-9._=/+-]+(?::|%3A)[A-Za-z0-9.:-]+/g, "[matrix id]")
    .replace(/(?:!|%21|\$|%24)[A-Za-z0-9_-]{16,}/g, "[matrix id]")
    .replace(
      /\b(?:syt_[A-Za-z0-9_-]+|omc_(?:server|operator|viewer)_[A-Za-z0-9_]+|eyJ[A-Za-z0-9_.-]+)/g,
      "[token]",
    )
    .replace(/https?:\/\/[^\s"')]+/g, "[url]");
}
