import type { DeadCode } from "../../shared/db/messages/dead/dead-messages.ts";
import type { FailingTime } from "../../shared/db/messages/delivery-attempts.ts";
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
  /** How long the message had failed before; null when no call was made, since the homeserver does not answer. */
  failing: FailingTime | null;
  /** How long ago the homeserver took a message of another room; null when none is known. */
  othersSentAgoMs: number | null;
  /** The delay that the homeserver asks for in a 429; null when it asks for none. */
  retryAfterMs: number | null;
};

/**
 * `retry` later with the same transaction id, or `dead`: it is never sent. `failingMs`: how long the message has failed now, of the
 * time that counts; null when that did not change.
 */
export type Decision =
  { action: "retry"; delayMs: number; failingMs: number | null } | { action: "dead"; code: DeadCode };

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;
/** The longest `Retry-After` of a homeserver that we keep to. */
const LONGEST_RETRY_AFTER_MS = 600_000;
/** Refusals after which one is final: each of them has repaired what could cause it. */
const FORBIDDEN_ATTEMPTS = 3;

/** A message without a verdict is dead when it has failed for this long while the homeserver took other rooms' messages. */
const UNANSWERED_AFTER_MS = 900_000;
/** The same where the message fails because of its own sender. */
const SENDER_UNANSWERED_AFTER_MS = 60_000;
/** The same for a message that is older than its tenant allows. */
const EXPIRED_AFTER_MS = 60_000;
/** One attempt counts for this at most: a call that gets no answer takes 30 s, the longest delay after it is 10 s. */
const LONGEST_STEP_MS = 45_000;
/** At the step `sender`, these are not of the sender: the homeserver asks to wait, or refuses us or the observer. */
const NOT_OF_SENDER: ReadonlySet<FailureKind> = new Set(["limited", "auth"] as const);

/**
 * The verdicts on a message. All other failures say something of the homeserver, of what is before it, of the room or of its
 * members on Matrix: then the message waits, for as long as `UNANSWERED_AFTER_MS` allows.
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
 * Decides what becomes of a message after a failed attempt. A message on which there is no verdict is dead by time alone, and only
 * the time counts in which the homeserver took messages of other rooms: while it is away, nothing is dead, and right after it
 * nothing is either. `chance` in [0, 1) spreads the delays.
 */
export function decideRetry(failure: FailedAttempt, chance: number): Decision {
  const countedMs = countSinceLastMs(failure);
  const failingMs = failure.failing && failure.failing.failingMs + countedMs;
  const code = findVerdict(failure) ?? (countedMs > 0 ? findTimeout(failure, failingMs ?? 0) : null);
  if (code !== null) return { action: "dead", code };
  return { action: "retry", delayMs: backoffMs(failure, chance), failingMs };
}

function findVerdict(failure: FailedAttempt): DeadCode | null {
  const { kind, step, attempts } = failure;
  const verdict = VERDICTS[step][kind] ?? null;
  const isFinal = !isRefusal(failure) || attempts + 1 >= FORBIDDEN_ATTEMPTS;
  return isFinal ? verdict : null;
}

/** The time since the last attempt, if the homeserver has taken a message of another room in it; else 0. */
function countSinceLastMs({ failing, othersSentAgoMs }: FailedAttempt): number {
  const sinceLastMs = failing?.sinceLastMs ?? 0;
  const isServed = othersSentAgoMs !== null && othersSentAgoMs <= sinceLastMs;
  return isServed ? Math.min(sinceLastMs, LONGEST_STEP_MS) : 0;
}

function findTimeout({ kind, step, ageMs, maxAgeMs }: FailedAttempt, failingMs: number): DeadCode | null {
  const isOfSender = step === "sender" && !NOT_OF_SENDER.has(kind);
  if (ageMs > maxAgeMs && failingMs >= EXPIRED_AFTER_MS) return "expired";
  return failingMs >= (isOfSender ? SENDER_UNANSWERED_AFTER_MS : UNANSWERED_AFTER_MS) ? "unanswered" : null;
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
