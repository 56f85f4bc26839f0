import { isLockTimeout, isRepeatable } from "../../shared/db/connection/failures.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/accept-messages.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";

/** Queues that are written at the same time, each on one connection: locked rooms leave the pool to the others. */
const MAX_WRITES = 4;
const MAX_BATCH_MESSAGES = 200;
const MAX_QUEUE_MESSAGES = 1_000;
const MAX_ALL_MESSAGES = 4_000;
const MAX_ATTEMPTS = 5;
/** The same as the limit of a statement, see `openDb`. */
const MAX_WAIT_MS = 10_000;
const RETRY_AFTER_MS = 1_000;

/** A request that waits until its message is accepted. */
export type AcceptRequest = {
  message: NewMessage;
  sinceMs: number;
  /** Failed writes of this message alone. */
  attempts: number;
  resolve: (acceptance: Acceptance) => void;
  reject: (error: unknown) => void;
};

/** Writes messages in one transaction and settles their requests. @throws what Postgres throws; then none is settled. */
export type WriteBatch = (batch: readonly AcceptRequest[]) => Promise<void>;

export type PerRoomQueues = {
  /** Adds a request to its room's queue. Returns false if the room has none. */
  add: (request: AcceptRequest) => boolean;
  /** Adds requests that could not be written together to their rooms' queues, which are opened as needed. */
  open: (batch: readonly AcceptRequest[]) => void;
};

type RoomQueue = { key: string; requests: AcceptRequest[]; batchSize: number };

/**
 * Queues of requests, one per room. Each is written by itself, so that a locked room, or a message that makes its batch
 * fail, delays no other room. An empty queue is closed. A request fails as `unavailable` after it has waited for its
 * room's lock for 10 s, and at once when its queue holds 1,000 requests, or all queues hold 4,000.
 */
export function createPerRoomQueues(write: WriteBatch, now: () => number): PerRoomQueues {
  const queues = new Map<string, RoomQueue>();
  // New queues go first: most of their rooms are not locked, they only shared a batch with one that is.
  const untried: RoomQueue[] = [];
  const tried: RoomQueue[] = [];
  let writes = 0;

  const run = async (queue: RoomQueue): Promise<void> => {
    writes++;
    await writeFirst(queue, write, now);
    writes--;
    if (queue.requests.length > 0) tried.push(queue);
    else queues.delete(queue.key);
    runNext();
  };
  const runNext = (): void => {
    while (writes < MAX_WRITES) {
      const queue = untried.shift() ?? tried.shift();
      if (!queue) return;
      void run(queue);
    }
  };
  const push = (queue: RoomQueue, request: AcceptRequest): void => {
    const all = [...queues.values()].reduce((sum, { requests }) => sum + requests.length, 0);
    if (queue.requests.length < MAX_QUEUE_MESSAGES && all < MAX_ALL_MESSAGES) queue.requests.push(request);
    else request.reject(lockedError());
  };
  const openQueue = (key: string): RoomQueue => {
    const queue = { key, requests: [], batchSize: MAX_BATCH_MESSAGES };
    queues.set(key, queue);
    untried.push(queue);
    return queue;
  };
  return {
    add(request) {
      const queue = queues.get(keyOf(request));
      if (queue) push(queue, request);
      return queue !== undefined;
    },
    open(batch) {
      for (const request of batch) push(queues.get(keyOf(request)) ?? openQueue(keyOf(request)), request);
      runNext();
    },
  };
}

function keyOf({ message }: AcceptRequest): string {
  return `${message.tenantId} ${formatRoomKey(message.room)}`;
}

/** Writes the first requests of a queue together, and after a failure one by one, so that only the faulty one fails. */
async function writeFirst(queue: RoomQueue, write: WriteBatch, now: () => number): Promise<void> {
  const batch = queue.requests.slice(0, queue.batchSize);
  const rejectBatch = (error: unknown) => {
    for (const { reject } of queue.requests.splice(0, batch.length)) reject(error);
  };
  try {
    await write(batch);
    queue.requests.splice(0, batch.length);
    queue.batchSize = Math.min(queue.batchSize * 2, MAX_BATCH_MESSAGES);
  } catch (error) {
    if (isLockTimeout(error)) rejectExpired(queue, now(), error);
    else if (!isRepeatable(error)) rejectBatch(error);
    else if (batch.length > 1) queue.batchSize = 1;
    else if (batch.every((request) => ++request.attempts >= MAX_ATTEMPTS)) rejectBatch(lockedError(error));
  }
}

function rejectExpired(queue: RoomQueue, nowMs: number, cause: unknown): void {
  const isExpired = ({ sinceMs }: AcceptRequest) => nowMs - sinceMs >= MAX_WAIT_MS;
  for (const { reject } of queue.requests.filter(isExpired)) reject(lockedError(cause));
  queue.requests = queue.requests.filter((request) => !isExpired(request));
}

function lockedError(cause?: unknown): AppError {
  return new AppError("unavailable", "The room is being changed. Try again.", {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
