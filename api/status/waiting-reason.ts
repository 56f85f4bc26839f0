import type { HomeserverStatus } from "../../shared/db/homeservers/homeserver-states.ts";
import type { OldestWaiting } from "../../shared/db/messages/waiting-messages.ts";
import type { FoundProblem } from "../../shared/platform/problems/problems.ts";

/** What a failed attempt says, by the kind that the workers recorded. */
const FAILURES: Record<string, string> = {
  transient: "the homeserver gave no answer",
  limited: "the homeserver asked us to slow down",
  auth: "the homeserver refused our credential",
  forbidden: "the homeserver does not let the sender write to the room",
};
const REFUSED = "the homeserver refused it";

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
    const { failure, detail, at } = lastFailure;
    const tries = attempts === 1 ? "1 try" : `${String(attempts)} tries`;
    const time = `${at.toISOString().slice(0, 19)}Z`;
    words.push(`${tries} failed, the last at ${time}: ${FAILURES[failure] ?? REFUSED} (${detail}).`);
  }
  if (words.length > 0) return words.join(" ");
  return homeserver === null
    ? "No worker reports how the homeserver is: are jobs and sync running?"
    : "No try failed yet: it waits for its turn.";
}
