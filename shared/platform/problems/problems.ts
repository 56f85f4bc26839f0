import { every } from "../concurrency/every.ts";
import { withTimeout } from "../concurrency/with-timeout.ts";
import type { Log } from "../log.ts";

/** What may be wrong with a server that a process needs, or with the work that waits for it. */
export type ProblemCode =
  | "postgres_down"
  | "redis_down"
  | "redis_read_only"
  | "redis_full"
  | "redis_policy"
  | "homeserver_down"
  | "homeserver_refuses_token"
  | "messages_waiting";

/** `critical`: what the code names does not work. `warning`: it works, and needs somebody's eyes. */
type Severity = "warning" | "critical";

/** A problem that one look found. `since` where the finder knows it: else it is the first look that found it. */
export type FoundProblem = { code: ProblemCode; severity: Severity; detail: string; since?: Date };

/** A problem that stands: in plain words, and since when (ISO 8601). */
export type Problem = { code: ProblemCode; severity: Severity; detail: string; since: string };

export type ProblemWatch = {
  /** The problems now, the newest look included. */
  read: () => Promise<readonly Problem[]>;
  /** Ends when the current look has ended. */
  stop: () => Promise<void>;
};

const LOOK_EVERY_MS = 2_000;
/** A look that is younger answers too: many readers cost one look. */
const FRESH_MS = 250;
/** The longest time that one check of a look may take. */
export const CHECK_LIMIT_MS = 3_000;

/**
 * Looks every 2 s, and when asked, for problems of one process. It knows since when each stands, and logs a line when one
 * begins and when it ends. `look` must not fail, and has a time limit of its own.
 */
export function watchProblems({
  look,
  log,
  now = Date.now,
}: {
  look: () => Promise<readonly FoundProblem[]>;
  log: Log;
  now?: () => number;
}): ProblemWatch {
  let standing: readonly Problem[] = [];
  let looking: Promise<void> | null = null;
  let lookedAtMs = -Infinity;
  const logChanges = createChangeLog(log, now);
  const lookOnce = async () => {
    const found = await look();
    standing = keepSince(standing, found, now());
    logChanges(found, standing);
    lookedAtMs = performance.now();
  };
  const lookTogether = () => {
    looking ??= lookOnce().finally(() => {
      looking = null;
    });
    return looking;
  };
  const repeating = every(LOOK_EVERY_MS, lookTogether, (error) => {
    log.error({ err: error }, "looking for problems failed");
  });
  return {
    read: async () => {
      if (performance.now() - lookedAtMs > FRESH_MS) await lookTogether();
      return standing;
    },
    stop: repeating.stop,
  };
}

/** A problem that stood before keeps its time. */
export function keepSince(
  before: readonly Problem[],
  found: readonly FoundProblem[],
  nowMs: number,
): Problem[] {
  return found.map(({ code, severity, detail, since }) => ({
    code,
    severity,
    detail,
    since:
      since?.toISOString() ??
      before.find((problem) => problem.code === code)?.since ??
      new Date(nowMs).toISOString(),
  }));
}

/** Logs when a problem begins, becomes worse, and ends. A finder that knows since when has logged it itself. */
function createChangeLog(log: Log, now: () => number) {
  const logged = new Map<ProblemCode, Pick<Problem, "since" | "severity">>();
  return (found: readonly FoundProblem[], standing: readonly Problem[]) => {
    for (const { code, severity, detail, since } of standing) {
      const known = logged.get(code);
      const isLogged = known !== undefined && (known.severity === severity || severity === "warning");
      if (isLogged || found.find((problem) => problem.code === code)?.since !== undefined) continue;
      logged.set(code, { since, severity });
      log.warn({ problem: code, detail, since }, "degraded");
    }
    for (const [code, { since }] of logged) {
      if (standing.some((problem) => problem.code === code)) continue;
      logged.delete(code);
      log.info({ problem: code, since, forMs: now() - Date.parse(since) }, "not degraded any more");
    }
  };
}

/** What a check finds; nothing when it fails or takes longer than its limit. */
export async function orNothing(check: Promise<readonly FoundProblem[]>): Promise<readonly FoundProblem[]> {
  return withTimeout(
    check.catch(() => []),
    CHECK_LIMIT_MS,
    () => [],
  );
}
