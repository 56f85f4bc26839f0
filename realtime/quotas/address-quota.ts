import { every, type Repeating } from "../../shared/platform/concurrency/every.ts";
import { newFence } from "../../shared/platform/ids.ts";
import { addressSocketsKey } from "../../shared/platform/redis-keys.ts";
import { runScripts } from "../../shared/platform/redis-script.ts";
import type { Redis } from "../../shared/platform/redis.ts";
import { countCall, LEASE_MS, readCount } from "./counts.ts";

/** `others`: the sockets of the other processes; `sent`: what Redis has of this one. */
type AddressCount = { own: number; others: number; sent: number; renewedAtMs: number };

const TICK_MS = 250;
/** How often the sockets of the other processes are read. */
const RENEW_MS = 1_000;
/** Addresses that one exchange with Redis names; the others follow with the next one. */
const ADDRESSES_AT_ONCE = 1_000;

/**
 * How many sockets an address (of IPv6, a network) has that have shown no valid token, until their end. The decision is
 * made here, at once; what the other processes have is known a second late. Without Redis each process counts its own.
 */
export class AddressQuota {
  readonly #redis: Redis;
  readonly #limit: number;
  readonly #process = newFence();
  readonly #counts = new Map<string, AddressCount>();
  readonly #exchanging: Repeating;

  constructor(redis: Redis, limit: number) {
    this.#redis = redis;
    this.#limit = limit;
    // The other counts stay as they are while Redis is away.
    this.#exchanging = every(
      TICK_MS,
      () => this.#exchange(Date.now()),
      () => undefined,
    );
  }

  /** Sockets of this process that no user has connected. */
  get unconnected(): number {
    let total = 0;
    for (const { own } of this.#counts.values()) total += own;
    return total;
  }

  isFull(network: string): boolean {
    const count = this.#counts.get(network);
    return count !== undefined && count.own + count.others >= this.#limit;
  }

  /** Counts a socket until the returned function is called. */
  enter(name: string): () => void {
    const count = this.#counts.get(name) ?? { own: 0, others: 0, sent: 0, renewedAtMs: 0 };
    this.#counts.set(name, count);
    count.own += 1;
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      count.own -= 1;
      if (count.own === 0 && count.sent === 0) this.#counts.delete(name);
    };
  }

  async stop(): Promise<void> {
    await this.#exchanging.stop();
  }

  async #exchange(nowMs: number): Promise<void> {
    const due = [...this.#counts]
      .filter(([, { own, sent, renewedAtMs }]) => own !== sent || nowMs - renewedAtMs >= RENEW_MS)
      .slice(0, ADDRESSES_AT_ONCE)
      .map(([name, count]) => ({ name, count, own: count.own }));
    for (const { count, own } of due) Object.assign(count, { sent: own, renewedAtMs: nowMs });
    const replies = await runScripts(
      this.#redis,
      due.map(({ name, own }) =>
        countCall({
          key: addressSocketsKey(name),
          process: this.#process,
          own,
          asked: 0,
          limit: this.#limit,
          leaseMs: LEASE_MS,
        }),
      ),
    );
    for (const [index, { name, count, own }] of due.entries()) {
      count.others = readCount(replies[index]).others;
      if (count.own === 0 && own === 0 && this.#counts.get(name) === count) this.#counts.delete(name);
    }
  }
}
