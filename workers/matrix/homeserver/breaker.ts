import { BrokenCircuitError, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import type { MatrixCall, Requester } from "../http/client.ts";
import { MatrixFailure } from "../http/failure.ts";

const FAILURES_IN_A_ROW = 5;
const HALF_OPEN_AFTER_MS = 2_000;

/** The `errcode` of a call that the breaker refused. */
export const NOT_ANSWERING = "homeserver not answering";

export type Breaker = {
  guard: (request: Requester) => Requester;
  /** Since when calls are refused, in milliseconds since 1970; null while they are made. */
  openSinceMs: () => number | null;
  /** Refuses every call until `release`: no call finds out whether the homeserver is back. */
  hold: () => void;
  release: () => void;
};

/** No response, or a 5xx. A refusal by a proxy before the homeserver does not count. */
export function isNoResponse(error: unknown): boolean {
  if (!(error instanceof MatrixFailure) || error.kind !== "transient") return false;
  return error.httpStatus === null || error.httpStatus >= 500;
}

/** A join may take long while the homeserver is well: it works out the state of the room. */
function isJoin({ method, path }: MatrixCall): boolean {
  return method === "POST" && (path.startsWith("/join/") || path.endsWith("/join"));
}

/**
 * Refuses calls to a homeserver after five calls in a row without a response, joins not counted; every 2 s one call is let
 * through. `on.close` is called when one succeeds, and by `release`.
 */
export function createBreaker(on: { open: () => void; close: () => void }): Breaker {
  const failures = new ConsecutiveBreaker(FAILURES_IN_A_ROW);
  const policy = circuitBreaker(handleWhen(isNoResponse), {
    halfOpenAfter: HALF_OPEN_AFTER_MS,
    breaker: failures,
  });
  let openSinceMs: number | null = null;
  let held: { dispose: () => void } | null = null;
  policy.onBreak(() => {
    if (openSinceMs !== null) return;
    openSinceMs = Date.now();
    on.open();
  });
  policy.onReset(() => {
    if (openSinceMs === null) return;
    openSinceMs = null;
    on.close();
  });
  return {
    openSinceMs: () => openSinceMs,
    hold: () => {
      held ??= policy.isolate();
    },
    release: () => {
      // The failures of the outage are over: the next one is the first.
      failures.success();
      held?.dispose();
      held = null;
    },
    guard: (request) => async (call) => {
      if (policy.state === CircuitState.Closed && isJoin(call)) return request(call);
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
