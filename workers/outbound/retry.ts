import type { FailureKind } from "../matrix/http/failure.ts";

/** What is known of a failed try. Ages and delays in milliseconds. */
export type FailedTry = {
  kind: FailureKind;
  /** Tries that failed before this one. */
  attempts: number;
  ageMs: number;
  maxAgeMs: number;
  retryAfterMs: number | null;
};

/** `retry` later with the same transaction id, or `dead`: it will never be sent. */
export type Decision =
  { action: "retry"; delayMs: number } | { action: "dead"; code: string; reason: string };

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;
/** The longest that a homeserver may make us wait. */
const LONGEST_ASKED_MS = 600_000;
/** A refusal that nothing could mend is believed at the third time. */
const FORBIDDEN_TRIES = 3;

/**
 * Decides what becomes of a message whose try failed. What may have been applied, or was asked to wait, ends by age
 * alone, never by count. `chance` in [0, 1) spreads the delays.
 */
export function decideRetry(failure: FailedTry, chance: number): Decision {
  if (failure.kind === "permanent" || failure.kind === "conflict") {
    return { action: "dead", code: "refused", reason: "The chat server does not accept this message." };
  }
  if (failure.kind === "missing") {
    return {
      action: "dead",
      code: "room_gone",
      reason: "The room does not exist on the chat server any more.",
    };
  }
  if (failure.kind === "forbidden" && failure.attempts + 1 >= FORBIDDEN_TRIES) {
    return {
      action: "dead",
      code: "forbidden",
      reason: "The chat server does not let the sender write to this room.",
    };
  }
  if (failure.ageMs > failure.maxAgeMs) {
    return { action: "dead", code: "expired", reason: "The message could not be sent for too long." };
  }
  return { action: "retry", delayMs: backoffMs(failure, chance) };
}

/** Doubles from 250 ms to 10 s, spread by half; what a homeserver asks for is the least. */
export function backoffMs(
  { attempts, retryAfterMs }: Pick<FailedTry, "attempts" | "retryAfterMs">,
  chance: number,
): number {
  const doubled = Math.min(FIRST_DELAY_MS * 2 ** Math.min(attempts, 10), LONGEST_DELAY_MS);
  const spread = Math.round(doubled * (0.5 + chance / 2));
  return Math.max(spread, Math.min(retryAfterMs ?? 0, LONGEST_ASKED_MS));
}
