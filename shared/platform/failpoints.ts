/**
 * Places in the code where a process may be made to die, to show that dying there loses nothing. Off unless the
 * configuration names one; for tests alone.
 */
export const FAILPOINTS = [
  "between commit and wake",
  "between homeserver answer and mark",
  "between timeline commit and publish",
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** Where to die, and at which passage, counted from 1. */
export type FailpointSpec = { name: Failpoint; passage: number };

/** Marks a place; dies there when it is the chosen one and its turn. */
export type HitFailpoint = (name: Failpoint) => void;

/** `name` or `name:passage`. Null when it is neither. */
export function parseFailpointSpec(text: string): FailpointSpec | null {
  const [written, count = "1"] = text.split(":");
  const name = FAILPOINTS.find((known) => known === written);
  return name !== undefined && /^[1-9]\d{0,6}$/.test(count) ? { name, passage: Number(count) } : null;
}

/** Without a spec, every place is passed. */
export function createFailpoint(spec: FailpointSpec | null): HitFailpoint {
  if (spec === null) return () => undefined;
  let passages = 0;
  return (name) => {
    if (name !== spec.name) return;
    passages++;
    // As a power cut does: nothing is closed, nothing is said.
    if (passages === spec.passage) process.kill(process.pid, "SIGKILL");
  };
}
