/** One difference between what the tenant wants and what there is. `what` is printed by the CLI. */
export type Difference = {
  what:
    | "no Matrix room"
    | "observer is out"
    | "observer cannot come back"
    | "Matrix room is gone"
    | "upgraded"
    | "encrypted"
    | "name"
    | "topic"
    | "power levels"
    | "member should be out"
    | "member should be in"
    | "member is banned"
    | "stranger is in"
    | "gap open"
    | "sent but not seen"
    | "not published";
  wanted: unknown;
  found: unknown;
  /** The event on Matrix that makes the difference, of a ban. */
  event?: string | null;
};
