import { setTimeout as sleep } from "node:timers/promises";
import type { HomeserverStatus } from "../../../shared/db/homeservers/homeserver-states.ts";
import { withTimeout } from "../../../shared/platform/concurrency/with-timeout.ts";
import type { Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";
import { isNoResponse } from "./breaker.ts";
import type { OpenedHomeserver } from "./homeserver.ts";

/** A look begins this long after the one before, or at once where that one took longer. */
const EVERY_MS = 2_000;
const ANSWER_LIMIT_MS = 2_000;
/** So many looks in a row without an answer, and the homeserver is down. */
const UNANSWERED_IN_A_ROW = 2;
/** How often we ask whether it knows our credential: while it does, and while it does not. */
const CREDENTIAL_EVERY_MS = 60_000;
const REFUSED_EVERY_MS = 5_000;
const CREDENTIAL_LIMIT_MS = 20_000;

export type HomeserverWatch = { status: () => HomeserverStatus; stop: () => void };

/** What the looks found so far. Times in milliseconds since 1970. */
export type Findings = {
  /** Why the looks had no answer, the last ones in a row, and when the first of them began. */
  unanswered: { count: number; sinceMs: number; why: string } | null;
  refused: { sinceMs: number; detail: string } | null;
  /** Since when it has been up, down, or refusing. */
  upSinceMs: number;
};

/** The state that the looks show. */
export function statusOf({ unanswered, refused, upSinceMs }: Findings): HomeserverStatus {
  if (unanswered && unanswered.count >= UNANSWERED_IN_A_ROW)
    return {
      state: "down",
      since: new Date(unanswered.sinceMs),
      detail: `The homeserver does not answer: ${unanswered.why}.`,
    };
  if (refused) return { state: "refusing", since: new Date(refused.sinceMs), detail: refused.detail };
  return { state: "up", since: new Date(upSinceMs), detail: null };
}

/** The next findings after a look at `/versions`; `why` is null when it was answered. */
export function addLook(findings: Findings, why: string | null, startedAtMs: number): Findings {
  if (why === null) return { ...findings, unanswered: null };
  const { count = 0, sinceMs = startedAtMs } = findings.unanswered ?? {};
  return { ...findings, unanswered: { count: count + 1, sinceMs, why } };
}

/**
 * Asks a homeserver every 2 s for its versions, and every minute whether it knows our credential. It is down after two
 * looks in a row without an answer within 2 s, and up with the next answer. No other call counts: a join or a long poll may
 * take long while the homeserver is well. `request` passes no breaker.
 */
export function watchHomeserver(deps: {
  request: Requester;
  homeserver: Pick<OpenedHomeserver, "credentialVariable" | "checkCredential">;
  onChange: (status: HomeserverStatus, before: HomeserverStatus) => void;
}): HomeserverWatch {
  const stopping = new AbortController();
  let findings: Findings = { unanswered: null, refused: null, upSinceMs: Date.now() };
  const see = (next: Findings) => {
    const before = statusOf(findings);
    const isUpAgain = before.state !== "up" && statusOf(next).state === "up";
    findings = isUpAgain ? { ...next, upSinceMs: Date.now() } : next;
    if (statusOf(findings).state !== before.state) deps.onChange(statusOf(findings), before);
  };
  const checkCredential = createCredentialCheck(deps.homeserver, (detail) => {
    see({
      ...findings,
      refused: detail === null ? null : { sinceMs: findings.refused?.sinceMs ?? Date.now(), detail },
    });
  });
  const look = async () => {
    const startedAtMs = Date.now();
    const wasDown = statusOf(findings).state === "down";
    const why = await whyUnanswered(deps.request);
    see(addLook(findings, why, startedAtMs));
    if (why === null) checkCredential({ isThorough: wasDown, isRefused: findings.refused !== null });
  };
  const run = async () => {
    for (;;) {
      const startedAtMs = performance.now();
      await look();
      const restMs = Math.max(0, EVERY_MS - (performance.now() - startedAtMs));
      await sleep(restMs, undefined, { ref: false, signal: stopping.signal });
    }
  };
  // It ends by the signal.
  run().catch(() => undefined);
  return {
    status: () => statusOf(findings),
    stop: () => {
      stopping.abort();
    },
  };
}

/** Why `/versions` was not answered, in plain words; null when it was. */
async function whyUnanswered(request: Requester): Promise<string | null> {
  const given = new AbortController();
  const call = { method: "GET", prefix: "/_matrix/client", path: "/versions", signal: given.signal } as const;
  const asked = request(call).then(
    () => null,
    (error: unknown) => (isNoResponse(error) ? wordsOf(error) : null),
  );
  return withTimeout(asked, ANSWER_LIMIT_MS, () => {
    given.abort();
    return "no answer within 2 s";
  });
}

function wordsOf(error: unknown): string {
  const status = error instanceof MatrixFailure ? error.httpStatus : null;
  return status === null ? "no connection" : `status ${String(status)}`;
}

/**
 * Asks whether the homeserver knows our credential when that is due; one question at a time, beside the looks. The first
 * question, and the first one after an outage, are thorough.
 */
function createCredentialCheck(
  { credentialVariable, checkCredential }: Pick<OpenedHomeserver, "credentialVariable" | "checkCredential">,
  onAnswer: (refusal: string | null) => void,
): (last: { isThorough: boolean; isRefused: boolean }) => void {
  let isAsking = false;
  let dueAtMs = -Infinity;
  let isThorough = true;
  const ask = async (isRefused: boolean) => {
    try {
      await withTimeout(checkCredential({ isThorough: isThorough || isRefused }), CREDENTIAL_LIMIT_MS, () => {
        throw new Error("no answer in time");
      });
      onAnswer(null);
      isThorough = false;
      dueAtMs = performance.now() + CREDENTIAL_EVERY_MS;
    } catch (error) {
      if (isRefusal(error))
        onAnswer(`The homeserver does not know our credential: correct ${credentialVariable}.`);
      dueAtMs = performance.now() + REFUSED_EVERY_MS;
    }
  };
  return (last) => {
    if (last.isThorough) {
      isThorough = true;
      dueAtMs = -Infinity;
    }
    if (isAsking || performance.now() < dueAtMs) return;
    isAsking = true;
    void ask(last.isRefused).finally(() => {
      isAsking = false;
    });
  };
}

/** Whether the homeserver itself refused a credential: a proxy before it has no errcode. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof MatrixFailure)) return false;
  return (error.httpStatus === 401 || error.httpStatus === 403) && error.errcode.startsWith("M_");
}
