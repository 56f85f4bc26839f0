/** Random numbers that can be repeated: the same seed gives the same numbers. */
export type Random = {
  /** A number in [0, 1). */
  next: () => number;
  /** A whole number in [0, below). */
  below: (below: number) => number;
  pick: <T>(items: readonly T[]) => T;
};

/** Mulberry32: small, and good enough for choosing faults. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error("nothing to pick from");
      return item;
    },
  };
}
