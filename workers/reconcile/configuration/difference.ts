import type { DesiredState } from "./desired-states.ts";

/** One difference between what the tenant wants and what there is. `what` is printed by the CLI. */
export type Difference = {
  what:
    | "no Matrix room"
    | "observer is out"
    | "upgraded"
    | "encrypted"
    | DesiredState["what"]
    | "power levels"
    | "power cannot be taken from"
    | "observer lacks power"
    | "too many roles for Matrix"
    | "member should be out"
    | "member should be in"
    | "stranger is in"
    | "gap open"
    | "sent but not seen"
    | "not published";
  wanted: unknown;
  found: unknown;
};
