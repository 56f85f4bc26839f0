import { DEAD_REASONS, type DeadCode } from "../../shared/db/messages/dead-messages.ts";
import type { FailureKind } from "../matrix/http/failure.ts";

/**
 * What a message needed when the failed call was made: its room with the power levels, its sender's account and join, or
 * itself to be sent.
 */
export type SendStep = "room" | "sender" | "send";

/** What is known of a failed attempt. Ages and delays in milliseconds. */
export type FailedAttempt = {
  kind: FailureKind;
  step: SendStep;
  /** Attempts that failed before this one; of a refusal (`isRefusal`), the message's refusals. */
  attempts: number;
  ageMs: number;
  maxAgeMs: number;
  /** The delay that the homeserver asks for in a 429; null when it asks for none. */
  retryAfterMs: number | null;
};

/** `retry` later with the same transaction id, or `dead`: it is never sent. */
export type Decision =
  { action: "retry"; delayMs: number } | { action: "dead"; code: DeadCode; reason: string };

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;
/** The longest `Retry-After` of a homeserver that we keep to. */
const LONGEST_RETRY_AFTER_MS = 600_000;
/** Refusals after which one is final: each of them has repaired what could cause it. */
const FORBIDDEN_ATTEMPTS = 3;

/**
 * The verdicts on a message. All other failures say something of the homeserver, of what is before it, of the room or of its
 * members on Matrix: then the message waits until its age ends it.
 */
const VERDICTS: Readonly<Record<SendStep, Partial<Record<FailureKind, DeadCode>>>> = {
  room: {},
  sender: { account: "forbidden" },
  send: { account: "forbidden", permanent: "refused", forbidden: "forbidden" },
};

/** Whether a failure counts against the message itself; any other counts against the room. */
export function isRefusal({ kind, step }: Pick<FailedAttempt, "kind" | "step">): boolean {
  return kind === "forbidden" && step === "send";
}

/**
 * Decides what becomes of a message after a failed attempt. A message that may have been sent, or that a homeserver asks
 * us to delay (429), is dead by its age alone and never by a count. So is one on which there is no verdict. `chance` in [0, 1) spreads the delays.
 */
export function decideRetry(failure: FailedAttempt, chance: number): Decision {
  const code = findDeadCode(failure);
  if (code !== null) return { action: "dead", code, reason: DEAD_REASONS[code] };
  return { action: "retry", delayMs: backoffMs(failure, chance) };
}

function findDeadCode(failure: FailedAttempt): DeadCode | null {
  const { kind, step, attempts, ageMs, maxAgeMs } = failure;
  const verdict = VERDICTS[step][kind] ?? null;
  const isFinal = !isRefusal(failure) || attempts + 1 >= FORBIDDEN_ATTEMPTS;
  if (verdict !== null && isFinal) return verdict;
  return ageMs > maxAgeMs ? "expired" : null;
}

/**
 * The delay before the next attempt: it doubles from 250 ms to 10 s, less a random part of up to a half. A 429 makes it at
 * least what the homeserver asks for, up to 10 minutes.
 */
export function backoffMs(
  { attempts, retryAfterMs }: Pick<FailedAttempt, "attempts" | "retryAfterMs">,
  chance: number,
): number {
  const doubled = Math.min(FIRST_DELAY_MS * 2 ** Math.min(attempts, 10), LONGEST_DELAY_MS);
  const spread = Math.round(doubled * (0.5 + chance / 2));
  return Math.max(spread, Math.min(retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS));
}
