/** What every socket received of the messages 0, 1, 2 …; times by the machine's monotonic clock. */
export type ArrivalCounts = {
  /** When the last of the sockets received a message with its number; null for a message that some socket lacks. */
  numberedAtMs: (number | null)[];
  /** Pairs of a socket and a message that it never received with a number. */
  lost: number;
  doubled: number;
  /** Entries whose offset is not the next one of their socket. */
  reordered: number;
};

/** `numbered` counts the messages that every socket has. */
export type Arrivals = {
  /** `index`: of a message that counts, or null for another entry of the timeline. */
  add: (socket: number, entry: { offset: number; index: number | null; atMs: number }) => void;
  numbered: () => number;
  counts: () => ArrivalCounts;
};

export function createArrivals(sockets: number, messages: number): Arrivals {
  const has = new Uint8Array(sockets * messages);
  const numbered = createLastTimes(sockets, messages);
  const lastOffsets = new Map<number, number>();
  let doubled = 0;
  let reordered = 0;
  return {
    add: (socket, { offset, index, atMs }) => {
      const lastOffset = lastOffsets.get(socket) ?? offset - 1;
      lastOffsets.set(socket, Math.max(lastOffset, offset));
      const place = index === null ? null : socket * messages + index;
      if (place !== null && has[place] === 1) {
        doubled++;
        return;
      }
      if (offset !== lastOffset + 1) reordered++;
      if (index === null || place === null) return;
      has[place] = 1;
      numbered.add(index, atMs);
    },
    numbered: numbered.complete,
    counts: () => ({
      numberedAtMs: numbered.times(),
      lost: has.reduce((sum, one) => sum + 1 - one, 0),
      doubled,
      reordered,
    }),
  };
}

/** When the last of `sockets` arrivals of each message came. */
function createLastTimes(sockets: number, messages: number) {
  const counts = new Uint32Array(messages);
  const lastAtMs = new Float64Array(messages);
  let complete = 0;
  return {
    add: (index: number, atMs: number) => {
      const count = (counts[index] ?? 0) + 1;
      counts[index] = count;
      lastAtMs[index] = atMs;
      if (count === sockets) complete++;
    },
    complete: () => complete,
    times: () => [...lastAtMs].map((atMs, index) => ((counts[index] ?? 0) >= sockets ? atMs : null)),
  };
}
