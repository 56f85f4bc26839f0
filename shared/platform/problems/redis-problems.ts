import { errorText } from "../../contract/errors.ts";
import type { FoundProblem, ProblemCode } from "./problems.ts";
import { WRITABLE_KEY } from "../redis-keys.ts";
import type { Redis } from "../redis.ts";

/** Full from the one share of maxmemory on, until it is below the other. */
const FULL_SHARE = 0.9;
const NOT_FULL_SHARE = 0.8;

/** How Redis refuses a write, by the first word of its error. */
const REFUSALS: Record<string, { code: ProblemCode; detail: string }> = {
  READONLY: { code: "redis_read_only", detail: "Redis is a read-only replica." },
  MASTERDOWN: { code: "redis_read_only", detail: "Redis is a replica that has lost its master." },
  MISCONF: { code: "redis_read_only", detail: "Redis refuses writes: it cannot save to its disk." },
  NOREPLICAS: { code: "redis_read_only", detail: "Redis refuses writes: it has too few replicas." },
  OOM: { code: "redis_full", detail: "Redis refuses writes: its memory (maxmemory) is full." },
  LOADING: { code: "redis_down", detail: "Redis is loading its data." },
  NOAUTH: { code: "redis_down", detail: "Redis asks for a password: see REDIS_URL." },
  WRONGPASS: { code: "redis_down", detail: "Redis refuses the name or the password in REDIS_URL." },
  NOPERM: { code: "redis_down", detail: "Redis does not let the user of REDIS_URL write." },
};
const SILENT = { code: "redis_down", detail: "Redis does not answer." } as const;

/** The problem that a failed write shows. */
export function problemOfWrite(error: unknown): FoundProblem {
  const [word = ""] = errorText(error).split(" ");
  return { severity: "critical", ...(REFUSALS[word] ?? SILENT) };
}

/** What `INFO memory` says; null where it does not say it. */
export type RedisMemory = { used: number | null; max: number | null; policy: string | null };

export function parseMemory(info: string): RedisMemory {
  const valueOf = (name: string) => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1] ?? null;
  const numberOf = (name: string) => {
    const value = valueOf(name);
    return value === null ? null : Number(value);
  };
  return { used: numberOf("used_memory"), max: numberOf("maxmemory"), policy: valueOf("maxmemory_policy") };
}

/** The problems of a Redis that takes writes. */
export function problemsOfMemory({ used, max, policy }: RedisMemory, wasFull: boolean): FoundProblem[] {
  const found: FoundProblem[] = [];
  const share = used !== null && max !== null && max > 0 ? used / max : 0;
  if (share >= (wasFull ? NOT_FULL_SHARE : FULL_SHARE)) {
    const percent = String(Math.floor(share * 100));
    const detail = `Redis uses ${percent} % of its memory (maxmemory).`;
    found.push({ code: "redis_full", severity: "warning", detail });
  }
  if (policy !== null && policy !== "noeviction") {
    const detail = `Redis has maxmemory-policy ${policy}, which loses queued jobs: set it to noeviction.`;
    found.push({ code: "redis_policy", severity: "warning", detail });
  }
  return found;
}

/** Looks for problems of Redis by a write: a replica and a full Redis answer `PING` too. It never fails. */
export function createRedisCheck(redis: Redis): () => Promise<FoundProblem[]> {
  let wasFull = false;
  return async () => {
    const [write, info] = await Promise.allSettled([
      redis.set(WRITABLE_KEY, "1", "EX", 60),
      redis.info("memory"),
    ]);
    const found =
      write.status === "rejected"
        ? [problemOfWrite(write.reason)]
        : // A user may lack the right to ask.
          info.status === "fulfilled"
          ? problemsOfMemory(parseMemory(info.value), wasFull)
          : [];
    wasFull = found.some(({ code }) => code === "redis_full");
    return found;
  };
}
