/**
 * Places in the code where a test lets a process die, to show that no death there loses anything. All are off unless
 * `KILL_POINT` names one.
 */
export const FAILPOINTS = [
  "between commit and publish",
  "between homeserver answer and mark",
  "between timeline commit and publish",
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** The failpoint at which the process dies, and at which passage through it, counted from 1. */
export type FailpointSpec = { name: Failpoint; passage: number };

/** Is called at a failpoint. Kills the process when the specification names this failpoint and this passage. */
export type HitFailpoint = (name: Failpoint) => void;

/** Parses `name` or `name:passage`; null for any other text. */
export function parseFailpointSpec(text: string): FailpointSpec | null {
  const [written, count = "1"] = text.split(":");
  const name = FAILPOINTS.find((known) => known === written);
  return name !== undefined && /^[1-9]\d{0,6}$/.test(count) ? { name, passage: Number(count) } : null;
}

/** Without a specification, no failpoint has an effect. */
export function createFailpoint(spec: FailpointSpec | null): HitFailpoint {
  if (spec === null) return () => undefined;
  let passages = 0;
  return (name) => {
    if (name !== spec.name) return;
    passages++;
    // As in a power cut: nothing is closed, nothing is logged.
    if (passages === spec.passage) process.kill(process.pid, "SIGKILL");
  };
}
