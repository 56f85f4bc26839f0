import type { HomeserverStatus } from "../../shared/db/homeservers/homeserver-states.ts";
import { describeFailedTry } from "../../shared/db/messages/dead/failures-in-words.ts";
import type { OldestWaiting } from "../../shared/db/messages/waiting-messages.ts";
import type { FoundProblem } from "../../shared/platform/problems/problems.ts";

/** Why a message waits, in plain words: what is wrong now, and how its last try failed. */
export function waitingReason(
  { attempts, lastFailure }: Pick<OldestWaiting, "attempts" | "lastFailure">,
  homeserver: HomeserverStatus | null,
  redis: readonly Pick<FoundProblem, "severity" | "detail">[],
): string {
  const words: string[] = [];
  const ofHomeserver = homeserver?.detail ?? null;
  if (ofHomeserver !== null) words.push(ofHomeserver);
  words.push(...redis.filter(({ severity }) => severity === "critical").map(({ detail }) => detail));
  if (lastFailure !== null) {
    const { at } = lastFailure;
    const tries = attempts === 1 ? "1 try" : `${String(attempts)} tries`;
    const time = `${at.toISOString().slice(0, 19)}Z`;
    words.push(`${tries} failed, the last at ${time}: ${describeFailedTry(lastFailure)}.`);
  }
  if (words.length > 0) return words.join(" ");
  return homeserver === null
    ? "No worker reports how the homeserver is: are jobs and sync running?"
    : "No try failed yet: it waits for its turn.";
}
