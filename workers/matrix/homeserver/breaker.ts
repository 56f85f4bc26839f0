import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import type { Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";

const FAILURES_IN_A_ROW = 5;
const HALF_OPEN_AFTER_MS = 2_000;

/** The `errcode` of a call that was not made. */
export const NOT_ANSWERING = "homeserver not answering";

export type Breaker = {
  guard: (request: Requester) => Requester;
  isOpen: () => boolean;
};

/** No answer, or one that says nothing but that there is none: not a refusal by something before the homeserver. */
function isSilence({ kind, httpStatus }: MatrixFailure): boolean {
  return kind === "transient" && (httpStatus === null || httpStatus >= 500);
}

/**
 * Refuses calls to a homeserver that did not answer five times in a row; every 2 s one call may try. `onClose` runs
 * when it answers again.
 */
export function createBreaker(on: { open: () => void; close: () => void }): Breaker {
  const policy = circuitBreaker(
    handleWhen((error) => error instanceof MatrixFailure && isSilence(error)),
    { halfOpenAfter: HALF_OPEN_AFTER_MS, breaker: new ConsecutiveBreaker(FAILURES_IN_A_ROW) },
  );
  let isOpen = false;
  policy.onBreak(() => {
    if (!isOpen) on.open();
    isOpen = true;
  });
  policy.onReset(() => {
    if (isOpen) on.close();
    isOpen = false;
  });
  return {
    isOpen: () => isOpen,
    guard: (request) => async (call) => {
      try {
        return await policy.execute(() => request(call));
      } catch (error) {
        if (!(error instanceof BrokenCircuitError)) throw error;
        throw new MatrixFailure("transient", {
          errcode: NOT_ANSWERING,
          httpStatus: null,
          retryAfterMs: HALF_OPEN_AFTER_MS,
          cause: error,
        });
      }
    },
  };
}
