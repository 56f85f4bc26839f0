import { AppError } from "../../contract/errors.ts";

type Waiting = { enter: () => void; timer: NodeJS.Timeout };

/** Runs at most `atWork` pieces of work at once. At most `waiting` wait, each at most `waitMs`. */
export class Semaphore {
  readonly #options: { atWork: number; waiting: number; waitMs: number };
  readonly #queue = new Set<Waiting>();
  #running = 0;

  constructor(options: { atWork: number; waiting: number; waitMs: number }) {
    this.#options = options;
  }

  /** @throws AppError `unavailable` when too many wait, or when the work does not start in time. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#options.atWork) await this.#enter();
    else this.#running += 1;
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #enter(): Promise<void> {
    if (this.#queue.size >= this.#options.waiting)
      throw new AppError("unavailable", "Too many requests wait.");
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        enter: () => {
          clearTimeout(waiting.timer);
          resolve();
        },
        timer: setTimeout(() => {
          this.#queue.delete(waiting);
          reject(new AppError("unavailable", "The request waited too long."));
        }, this.#options.waitMs),
      };
      this.#queue.add(waiting);
    });
  }

  /** Starts the work that has waited longest. */
  #next(): void {
    for (const waiting of this.#queue) {
      this.#queue.delete(waiting);
      waiting.enter();
      return;
    }
    this.#running -= 1;
  }
}
