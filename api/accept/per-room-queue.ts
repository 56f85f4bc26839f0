import { isLockTimeout, isRepeatable } from "../../shared/db/connection/failures.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/messages.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { formatRoomKey } from "../../shared/contract/names.ts";

/** Connections that lines take: rooms that are held leave the pool to the others. */
const LINES_AT_ONCE = 4;
const BATCH_MESSAGES = 200;
const LINE_MESSAGES = 1_000;
const LINES_MESSAGES = 4_000;
const TRIES_EACH = 5;
/** As long as a statement may take, see `openDb`. */
const WAIT_AT_MOST_MS = 10_000;
const RETRY_AFTER_MS = 1_000;

/** A message that somebody waits for. */
export type PendingMessage = {
  message: NewMessage;
  sinceMs: number;
  /** How often it failed by itself. */
  tries: number;
  resolve: (acceptance: Acceptance) => void;
  reject: (error: unknown) => void;
};

/** Writes messages in one transaction and answers them. @throws what Postgres throws; then none is answered. */
export type WritePending = (batch: readonly PendingMessage[]) => Promise<void>;

export type PerRoomQueues = {
  /** Whether the room of a message has a line: then the message has come into it. */
  take: (waiting: PendingMessage) => boolean;
  /** Takes messages that could not be written together, each into its room's line. */
  open: (batch: readonly PendingMessage[]) => void;
};

type RoomQueue = { key: string; waiting: PendingMessage[]; atOnce: number };

/**
 * Lines of messages, one per room, each written by itself: where somebody holds a room, or one message spoils its
 * batch, the messages of the other rooms do not wait. A line goes when it is empty. What waits for a room for more than
 * 10 s is answered `unavailable`, and so is what comes when a line holds 1,000 messages, or all of them 4,000.
 */
export function createPerRoomQueues(write: WritePending, now: () => number): PerRoomQueues {
  const queues = new Map<string, RoomQueue>();
  // Lines that were never tried go first: most of them are held by nobody, and were only beside one that is.
  const fresh: RoomQueue[] = [];
  const tried: RoomQueue[] = [];
  let running = 0;

  const run = async (queue: RoomQueue): Promise<void> => {
    running++;
    await writeSome(queue, write, now);
    running--;
    if (queue.waiting.length > 0) tried.push(queue);
    else queues.delete(queue.key);
    runDue();
  };
  const runDue = (): void => {
    while (running < LINES_AT_ONCE) {
      const queue = fresh.shift() ?? tried.shift();
      if (!queue) return;
      void run(queue);
    }
  };
  const push = (queue: RoomQueue, waiting: PendingMessage): void => {
    const all = [...queues.values()].reduce((sum, { waiting: { length } }) => sum + length, 0);
    if (queue.waiting.length < LINE_MESSAGES && all < LINES_MESSAGES) queue.waiting.push(waiting);
    else waiting.reject(describeHeld());
  };
  const openQueue = (key: string): RoomQueue => {
    const queue = { key, waiting: [], atOnce: BATCH_MESSAGES };
    queues.set(key, queue);
    fresh.push(queue);
    return queue;
  };
  return {
    take(waiting) {
      const queue = queues.get(keyOf(waiting));
      if (queue) push(queue, waiting);
      return queue !== undefined;
    },
    open(batch) {
      for (const waiting of batch) push(queues.get(keyOf(waiting)) ?? openQueue(keyOf(waiting)), waiting);
      runDue();
    },
  };
}

function keyOf({ message }: PendingMessage): string {
  return `${message.tenantId} ${formatRoomKey(message.room)}`;
}

/** Writes the first of a line: together, and after a failure one by one, so that one message's trouble is not the others'. */
async function writeSome(queue: RoomQueue, write: WritePending, now: () => number): Promise<void> {
  const batch = queue.waiting.slice(0, queue.atOnce);
  const leave = (error: unknown) => {
    for (const { reject } of queue.waiting.splice(0, batch.length)) reject(error);
  };
  try {
    await write(batch);
    queue.waiting.splice(0, batch.length);
    queue.atOnce = Math.min(queue.atOnce * 2, BATCH_MESSAGES);
  } catch (error) {
    if (isLockTimeout(error)) giveUpOld(queue, now(), error);
    else if (!isRepeatable(error)) leave(error);
    else if (batch.length > 1) queue.atOnce = 1;
    else if (batch.every((one) => ++one.tries >= TRIES_EACH)) leave(describeHeld(error));
  }
}

function giveUpOld(queue: RoomQueue, nowMs: number, cause: unknown): void {
  const isOld = ({ sinceMs }: PendingMessage) => nowMs - sinceMs >= WAIT_AT_MOST_MS;
  for (const { reject } of queue.waiting.filter(isOld)) reject(describeHeld(cause));
  queue.waiting = queue.waiting.filter((waiting) => !isOld(waiting));
}

function describeHeld(cause?: unknown): AppError {
  return new AppError("unavailable", "The room is being changed. Try again.", {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
