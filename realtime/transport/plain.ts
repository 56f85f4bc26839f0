import { HEALTH_PATHS, isRead, NOT_ALLOWED, NOT_FOUND, REPEATED } from "../../shared/platform/http/health.ts";
import { findRepeatedHeader } from "../../shared/platform/http/http-server.ts";
import type { Answer, TransportOptions } from "./transport.ts";

/** `path` is as it was sent, without the query; `rawHeaders` are names and values in turn. */
export type PlainRequest = { method: string; path: string; rawHeaders: readonly string[] };

/** Answers a request that opens no socket. */
export async function answerPlain(
  { answer }: Pick<TransportOptions, "answer">,
  { method, path, rawHeaders }: PlainRequest,
): Promise<Answer> {
  if (findRepeatedHeader(rawHeaders) !== null) return REPEATED;
  if (!isRead(method)) return HEALTH_PATHS.includes(path) ? NOT_ALLOWED : NOT_FOUND;
  return (await answer(path)) ?? NOT_FOUND;
}
