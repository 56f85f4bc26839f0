import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/accept-messages.ts";

export const MAX_BATCH_MESSAGES = 200;
/** Requests of all rooms that are written together, and of all that are written alone. */
const MAX_WAITING = 4_000;
/** Requests of one room that is written alone. */
const MAX_WAITING_ALONE = 1_000;
const RETRY_AFTER_MS = 1_000;

/** A request that waits until its message is accepted. */
export type AcceptRequest = {
  message: NewMessage;
  sinceMs: number;
  /** Failed writes of this message by itself. */
  attempts: number;
  resolve: (acceptance: Acceptance) => void;
  reject: (error: unknown) => void;
};

/**
 * The requests of one room, in the order in which they came. How they are written:
 *
 * - `together`: with those of other rooms, in the next batch.
 * - `alone`: by themselves, in the room's turn. Another transaction has locked the room twice in a row, or a batch with it has
 *   failed.
 *
 * While a queue `isWriting`, its first requests are being written, and no other write takes from it: so they are accepted in
 * their order. A queue changes its way only at the end of a write, and is forgotten when it is empty.
 */
type RoomQueue = {
  readonly key: string;
  way: "together" | "alone";
  isWriting: boolean;
  requests: AcceptRequest[];
  /** Batches in a row that have found the room locked: a drain locks it for some milliseconds. */
  misses: number;
  /** How many requests a write alone takes: one after a failure, then more again. */
  batchSize: number;
};

/** What one write takes from a queue. */
export type Part = { readonly queue: RoomQueue; readonly requests: readonly AcceptRequest[] };

/** What a write leaves behind: those of its requests that are written again, and how. */
export type End = { keep: readonly AcceptRequest[] } & Pick<RoomQueue, "way" | "misses" | "batchSize">;

const FIRST_MODE = { way: "together", isWriting: false, misses: 0, batchSize: MAX_BATCH_MESSAGES } as const;

/** The queues of all rooms: who waits, and what the next write takes. */
export class RoomQueues {
  readonly #queues = new Map<string, RoomQueue>();
  /** Lines that no write has, in the order of their turns. */
  readonly #together = new Set<RoomQueue>();
  readonly #alone: RoomQueue[] = [];
  readonly #waiting = { together: 0, alone: 0 };

  /** Requests that a batch may take now. */
  get ready(): number {
    let count = 0;
    for (const { requests } of this.#together) count += requests.length;
    return count;
  }

  /** @throws AppError `unavailable` when too many requests wait. */
  add(request: AcceptRequest): void {
    const key = keyOf(request.message);
    const queue = this.#queues.get(key) ?? { key, ...FIRST_MODE, requests: [] };
    if (this.#isFull(queue)) throw queue.way === "alone" ? lockedError() : tooManyError();
    this.#queues.set(key, queue);
    queue.requests.push(request);
    this.#waiting[queue.way]++;
    if (queue.way === "together" && !queue.isWriting) this.#together.add(queue);
  }

  /** The next batch: of each queue in its turn what there is room for. Empty when none is ready. */
  takeTogether(): Part[] {
    const parts: Part[] = [];
    let free = MAX_BATCH_MESSAGES;
    for (const queue of this.#together) {
      if (free === 0) break;
      this.#together.delete(queue);
      const part = take(queue, free);
      free -= part.requests.length;
      parts.push(part);
    }
    return parts;
  }

  /** The next write of a queue by itself. */
  takeAlone(): Part | undefined {
    const queue = this.#alone.shift();
    return queue && take(queue, queue.batchSize);
  }

  /** Ends the write of a part. What it keeps is written again, before the requests that came later. */
  end({ queue, requests }: Part, { keep, ...mode }: End): void {
    if (!queue.isWriting || requests.some((request, index) => queue.requests[index] !== request))
      throw new Error("a write ends that has not begun");
    const wasAlone = queue.way === "alone";
    this.#waiting[queue.way] -= queue.requests.length;
    Object.assign(queue, mode, { isWriting: false });
    queue.requests.splice(0, requests.length, ...keep);
    for (const { reject } of this.#cut(queue)) reject(lockedError());
    this.#waiting[queue.way] += queue.requests.length;
    if (queue.requests.length === 0) this.#queues.delete(queue.key);
    else if (queue.way === "together") this.#together.add(queue);
    // A queue that was not alone before goes first: its room may be free by now.
    else if (wasAlone) this.#alone.push(queue);
    else this.#alone.unshift(queue);
  }

  #isFull({ way, requests }: RoomQueue): boolean {
    return this.#waiting[way] >= MAX_WAITING || (way === "alone" && requests.length >= MAX_WAITING_ALONE);
  }

  /** Takes the newest requests from a queue that may not wait alone. The queue is not counted at the moment. */
  #cut({ way, requests }: RoomQueue): AcceptRequest[] {
    if (way === "together") return [];
    return requests.splice(Math.min(MAX_WAITING_ALONE, Math.max(0, MAX_WAITING - this.#waiting.alone)));
  }
}

function take(queue: RoomQueue, limit: number): Part {
  if (queue.isWriting) throw new Error("two writes of one room");
  queue.isWriting = true;
  return { queue, requests: queue.requests.slice(0, limit) };
}

function keyOf({ tenantId, room }: NewMessage): string {
  return `${tenantId} ${formatRoomKey(room)}`;
}

function tooManyError(): AppError {
  return new AppError("unavailable", "Too many messages at once. Try again.", {
    retryAfterMs: RETRY_AFTER_MS,
  });
}

export function lockedError(cause?: unknown): AppError {
  return new AppError("unavailable", "The room is being changed. Try again.", {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
