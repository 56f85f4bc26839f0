/** A homeserver that was restored from a backup accepts a later position and returns an earlier one, without an error. */
export function isBackwards(since: string, next: string): boolean {
  const before = ordinalOf(since);
  const after = ordinalOf(next);
  return before !== null && after !== null && after < before;
}

/** Whether several of Synapse's processes write events, and one of them is behind: Synapse writes such a position as `m…`. */
export function isOfManyWriters(position: string): boolean {
  return position.startsWith("m");
}

/** The number in a position that grows with each event; null when the position has another form. */
function ordinalOf(position: string): number | null {
  const match = /^s(\d+)/.exec(position);
  return match ? Number(match[1]) : null;
}
