/** Calls what was added once `afterMs` have passed, in the order of adding. */
export class Lingering {
  readonly #afterMs: number;
  readonly #waiting: { atMs: number; end: () => void }[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(afterMs: number) {
    this.#afterMs = afterMs;
  }

  add(end: () => void): void {
    this.#waiting.push({ atMs: Date.now() + this.#afterMs, end });
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#run();
    }, this.#afterMs).unref();
  }

  #run(): void {
    const nowMs = Date.now();
    const later = this.#waiting.findIndex(({ atMs }) => atMs > nowMs);
    const due = this.#waiting.splice(0, later === -1 ? this.#waiting.length : later);
    const [next] = this.#waiting;
    this.#timer = next
      ? setTimeout(
          () => {
            this.#run();
          },
          Math.max(1, next.atMs - nowMs),
        ).unref()
      : null;
    for (const { end } of due) end();
  }
}
