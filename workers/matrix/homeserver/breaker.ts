import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import type { Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";

const FAILURES_IN_A_ROW = 5;
const HALF_OPEN_AFTER_MS = 2_000;

/** The `errcode` of a call that the breaker refused. */
export const NOT_ANSWERING = "homeserver not answering";

export type Breaker = {
  guard: (request: Requester) => Requester;
  isOpen: () => boolean;
};

/** No response, or a 5xx. A refusal by a proxy before the homeserver does not count. */
function isNoResponse({ kind, httpStatus }: MatrixFailure): boolean {
  return kind === "transient" && (httpStatus === null || httpStatus >= 500);
}

/**
 * Refuses calls to a homeserver after five calls in a row without a response; every 2 s one call is let through. `on.close`
 * is called when one succeeds.
 */
export function createBreaker(on: { open: () => void; close: () => void }): Breaker {
  const policy = circuitBreaker(
    handleWhen((error) => error instanceof MatrixFailure && isNoResponse(error)),
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
