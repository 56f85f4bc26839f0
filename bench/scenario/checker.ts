/** A message that the API accepted, in the order of acceptance per room. Times by `performance.now()`. */
export type Accepted = { id: string; room: string; askedAtMs: number; acceptedAtMs: number };

/** What one socket heard of the timeline, in the order heard. */
export type Hearing = {
  name: string;
  rooms: readonly string[];
  heard: readonly { id: string; channel: string }[];
};

export type Verdict = {
  accepted: number;
  delivered: number;
  lost: number;
  doubled: number;
  reordered: number;
};

/**
 * Compares what was accepted with what every socket of a member heard. A message counts as delivered when all of them
 * heard it; lost, doubled and reordered are counted per socket.
 */
export function judge(accepted: readonly Accepted[], hearings: readonly Hearing[]): Verdict {
  const lostIds = new Set<string>();
  let lost = 0;
  let doubled = 0;
  let reordered = 0;
  for (const hearing of hearings) {
    for (const room of hearing.rooms) {
      const wanted = accepted.filter((message) => message.room === room).map((message) => message.id);
      const order = new Map(wanted.map((id, index) => [id, index]));
      const heard = hearing.heard
        .filter((entry) => entry.channel === room && order.has(entry.id))
        .map((entry) => entry.id);
      const once = new Set(heard);
      doubled += heard.length - once.size;
      for (const id of wanted) {
        if (once.has(id)) continue;
        lost++;
        lostIds.add(id);
      }
      reordered += countInversions([...once].map((id) => order.get(id) ?? 0));
    }
  }
  return { accepted: accepted.length, delivered: accepted.length - lostIds.size, lost, doubled, reordered };
}

/** How many stand behind one that should come later. */
function countInversions(places: readonly number[]): number {
  let highest = -1;
  let inversions = 0;
  for (const place of places) {
    if (place < highest) inversions++;
    highest = Math.max(highest, place);
  }
  return inversions;
}
