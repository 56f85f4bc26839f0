import type { FoundProblem } from "../../platform/problems/problems.ts";
import type { HomeserverStatus } from "./homeserver-states.ts";

const KINDS = [
  { kind: "down", code: "homeserver_down" },
  { kind: "refusing", code: "homeserver_refuses_token" },
] as const;

/** One problem of each kind: of several homeservers, the one that has it longest. */
export function problemsOfHomeservers(statuses: readonly HomeserverStatus[]): FoundProblem[] {
  return KINDS.flatMap(({ kind, code }) => {
    const [first] = statuses
      .filter(({ state }) => state === kind)
      .sort((a, b) => a.since.getTime() - b.since.getTime());
    return first
      ? [{ code, severity: "critical" as const, detail: first.detail ?? "", since: first.since }]
      : [];
  });
}
