/** Milliseconds by the machine's monotonic clock, which is the same in every process of it. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1_000_000;
}
