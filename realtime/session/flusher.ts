/** Flushes the queues that have something to write, once per turn of the event loop. */
export class Flusher {
  readonly #queues = new Set<{ flush(): void }>();

  add(queue: { flush(): void }): void {
    if (this.#queues.size === 0)
      setImmediate(() => {
        this.#flush();
      });
    this.#queues.add(queue);
  }

  #flush(): void {
    const queues = [...this.#queues];
    this.#queues.clear();
    for (const queue of queues) queue.flush();
  }
}
