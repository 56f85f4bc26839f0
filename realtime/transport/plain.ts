import { HEALTH_PATHS, isRead, NOT_ALLOWED, NOT_FOUND } from "../../shared/platform/health.ts";
import type { Answer, TransportOptions } from "./transport.ts";

/** Answers a request that opens no socket. `path` is as it was sent, without the query. */
export async function answerPlain(
  { answer }: Pick<TransportOptions, "answer">,
  { method, path }: { method: string; path: string },
): Promise<Answer> {
  if (!isRead(method)) return HEALTH_PATHS.includes(path) ? NOT_ALLOWED : NOT_FOUND;
  return (await answer(path)) ?? NOT_FOUND;
}
