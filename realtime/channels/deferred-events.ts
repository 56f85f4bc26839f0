/** Events that wait for one topic; further ones are dropped. */
const MAX_DEFERRED = 100;

type DeferredEvent = { after: number; deliver: () => void };

/** Unnumbered events that wait until an entry is delivered. */
export class DeferredEvents {
  #events: DeferredEvent[] = [];

  add(event: DeferredEvent): void {
    if (this.#events.length < MAX_DEFERRED) this.#events.push(event);
  }

  /** Delivers the events that waited for entries up to `position`. */
  deliverUpTo(position: number): void {
    if (this.#events.length === 0) return;
    const due = this.#events.filter(({ after }) => after <= position);
    this.#events = this.#events.filter(({ after }) => after > position);
    for (const { deliver } of due) deliver();
  }

  clear(): void {
    this.#events = [];
  }
}
