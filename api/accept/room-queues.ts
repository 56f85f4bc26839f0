import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";

export const MAX_BATCH_MESSAGES = 200;
/** Acts of a batch: each is a statement of its own, while the rooms of the batch are locked. */
const MAX_BATCH_ACTS = 32;
/** Requests of all rooms that are written together, and of all that are written alone. */
const MAX_WAITING = 4_000;
/** Requests of one room that is written alone. */
const MAX_WAITING_ALONE = 1_000;
const RETRY_AFTER_MS = 1_000;

/** What a room accepts: a message, or an act. */
export type RoomRequest = { tenantId: string; room: RoomAddress };

/** A request that waits until it is accepted. */
export type AcceptRequest<R extends RoomRequest, O> = {
  request: R;
  sinceMs: number;
  /** Failed writes of this request by itself. */
  attempts: number;
  resolve: (outcome: O) => void;
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
type RoomQueue<R extends RoomRequest, O> = {
  readonly key: string;
  way: "together" | "alone";
  isWriting: boolean;
  requests: AcceptRequest<R, O>[];
  /** Batches in a row that have found the room locked: a drain locks it for some milliseconds. */
  misses: number;
  /** How many requests a write alone takes: one after a failure, then more again. */
  batchSize: number;
};

/** What one write takes from a queue. */
export type Part<R extends RoomRequest, O> = {
  readonly queue: RoomQueue<R, O>;
  readonly requests: readonly AcceptRequest<R, O>[];
};

/** What a write leaves behind: those of its requests that are written again, and how. */
export type End<R extends RoomRequest, O> = { keep: readonly AcceptRequest<R, O>[] } & Pick<
  RoomQueue<R, O>,
  "way" | "misses" | "batchSize"
>;

const FIRST_MODE = { way: "together", isWriting: false, misses: 0, batchSize: MAX_BATCH_MESSAGES } as const;

/** The queues of all rooms: who waits, and what the next write takes. */
export class RoomQueues<R extends RoomRequest, O> {
  readonly #queues = new Map<string, RoomQueue<R, O>>();
  /** Lines that no write has, in the order of their turns. */
  readonly #together = new Set<RoomQueue<R, O>>();
  readonly #alone: RoomQueue<R, O>[] = [];
  readonly #waiting = { together: 0, alone: 0 };

  /** Requests that a batch may take now. */
  get ready(): number {
    let count = 0;
    for (const { requests } of this.#together) count += requests.length;
    return count;
  }

  /** @throws AppError `unavailable` when too many requests wait. */
  add(request: AcceptRequest<R, O>): void {
    const key = keyOf(request.request);
    const queue = this.#queues.get(key) ?? { key, ...FIRST_MODE, requests: [] };
    if (this.#isFull(queue)) throw queue.way === "alone" ? lockedError() : tooManyError();
    this.#queues.set(key, queue);
    queue.requests.push(request);
    this.#waiting[queue.way]++;
    if (queue.way === "together" && !queue.isWriting) this.#together.add(queue);
  }

  /** The next batch: of each queue in its turn what there is room for. Empty when none is ready. */
  takeTogether(): Part<R, O>[] {
    const parts: Part<R, O>[] = [];
    const free = { requests: MAX_BATCH_MESSAGES, acts: MAX_BATCH_ACTS };
    for (const queue of this.#together) {
      if (free.requests === 0) break;
      const requests = takeFirst(queue.requests, free);
      if (requests.length === 0) continue;
      this.#together.delete(queue);
      const acts = countActs(requests);
      free.requests -= requests.length;
      free.acts -= acts;
      parts.push(take(queue, requests));
    }
    return parts;
  }

  /** The next write of a queue by itself. */
  takeAlone(): Part<R, O> | undefined {
    const queue = this.#alone.shift();
    if (!queue) return undefined;
    return take(queue, takeFirst(queue.requests, { requests: queue.batchSize, acts: MAX_BATCH_ACTS }));
  }

  /** Ends the write of a part. What it keeps is written again, before the requests that came later. */
  end({ queue, requests }: Part<R, O>, { keep, ...mode }: End<R, O>): void {
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

  #isFull({ way, requests }: RoomQueue<R, O>): boolean {
    return this.#waiting[way] >= MAX_WAITING || (way === "alone" && requests.length >= MAX_WAITING_ALONE);
  }

  /** Takes the newest requests from a queue that may not wait alone. The queue is not counted at the moment. */
  #cut({ way, requests }: RoomQueue<R, O>): AcceptRequest<R, O>[] {
    if (way === "together") return [];
    return requests.splice(Math.min(MAX_WAITING_ALONE, Math.max(0, MAX_WAITING - this.#waiting.alone)));
  }
}

function take<R extends RoomRequest, O>(
  queue: RoomQueue<R, O>,
  requests: readonly AcceptRequest<R, O>[],
): Part<R, O> {
  if (queue.isWriting) throw new Error("two writes of one room");
  queue.isWriting = true;
  return { queue, requests };
}

/** The first requests of a queue, as many as there is room for. */
function takeFirst<Q extends { request: RoomRequest }>(
  requests: readonly Q[],
  free: { requests: number; acts: number },
): Q[] {
  let acts = 0;
  const first: Q[] = [];
  for (const one of requests) {
    if (isAct(one)) acts += 1;
    if (first.length === free.requests || acts > free.acts) break;
    first.push(one);
  }
  return first;
}

function countActs(requests: readonly { request: RoomRequest }[]): number {
  return requests.filter(isAct).length;
}

function isAct({ request }: { request: RoomRequest }): boolean {
  return "act" in request;
}

function keyOf({ tenantId, room }: RoomRequest): string {
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
