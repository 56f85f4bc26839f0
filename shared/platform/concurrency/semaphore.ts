import { AppError } from "../../contract/errors.ts";

type Waiting = { enter: () => void; timer: NodeJS.Timeout };

/** Lets at most `atWork` run at once and `waiting` wait for that, each at most `waitMs`. */
export class Semaphore {
  readonly #options: { atWork: number; waiting: number; waitMs: number };
  readonly #queue = new Set<Waiting>();
  #running = 0;

  constructor(options: { atWork: number; waiting: number; waitMs: number }) {
    this.#options = options;
  }

  /** @throws AppError `unavailable` when there is no room or the turn does not come in time. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#options.atWork) await this.#turn();
    else this.#running += 1;
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #turn(): Promise<void> {
    if (this.#queue.size >= this.#options.waiting)
      throw new AppError("unavailable", "Too many are connecting.");
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        enter: () => {
          clearTimeout(waiting.timer);
          resolve();
        },
        timer: setTimeout(() => {
          this.#queue.delete(waiting);
          reject(new AppError("unavailable", "Connecting takes too long."));
        }, this.#options.waitMs),
      };
      this.#queue.add(waiting);
    });
  }

  /** Hands the place on to who waits longest. */
  #next(): void {
    for (const waiting of this.#queue) {
      this.#queue.delete(waiting);
      waiting.enter();
      return;
    }
    this.#running -= 1;
  }
}
