import { pino, type Logger } from "pino";

export type Log = Logger;

/** Names under which a secret or a person's words could slip into a log line. */
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

/** JSON lines on standard output, one per outcome; secrets and people's words are cut out by name. */
export function createLog(options: { level: string; tier: string }): Log {
  return pino({
    level: options.level,
    base: { tier: options.tier, pid: process.pid },
    redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: serializeError },
  });
}

/** Type, code, message and stack, with the causes; never other fields, which may hold a request. */
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

/** Takes Matrix ids, room ids and tokens out of a text that came from a library or a homeserver. */
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
