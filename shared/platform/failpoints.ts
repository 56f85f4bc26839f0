/**
 * Places in the code where a process may be made to die, to show that dying there loses nothing. Off unless the
 * configuration names one; for tests alone.
 */
export const KILL_POINTS = [
  "between commit and wake",
  "between homeserver answer and mark",
  "between timeline commit and publish",
] as const;
export type KillPoint = (typeof KILL_POINTS)[number];

/** Where to die, and at which passage, counted from 1. */
export type KillSpec = { name: KillPoint; passage: number };

/** Marks a place; dies there when it is the chosen one and its turn. */
export type Reach = (name: KillPoint) => void;

/** `name` or `name:passage`. Null when it is neither. */
export function parseKillSpec(text: string): KillSpec | null {
  const [written, count = "1"] = text.split(":");
  const name = KILL_POINTS.find((known) => known === written);
  return name !== undefined && /^[1-9]\d{0,6}$/.test(count) ? { name, passage: Number(count) } : null;
}

/** Without a spec, every place is passed. */
export function createKillPoint(spec: KillSpec | null): Reach {
  if (spec === null) return () => undefined;
  let passages = 0;
  return (name) => {
    if (name !== spec.name) return;
    passages++;
    // As a power cut does: nothing is closed, nothing is said.
    if (passages === spec.passage) process.kill(process.pid, "SIGKILL");
  };
}
