import { isLockTimeout, isRepeatable } from "../../shared/db/connection/failures.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/messages.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { createPerRoomQueues, type PendingMessage, type WritePending } from "./per-room-queue.ts";

const BATCH_MESSAGES = 200;
const FLUSHES_AT_ONCE = 4;
const BACKLOG_MESSAGES = 4_000;

export type Accept = (message: NewMessage) => Promise<Acceptance>;
type Write = (messages: readonly NewMessage[]) => Promise<Acceptance[]>;
type OnWritten = (acceptances: readonly Acceptance[]) => void;

/**
 * Accepts messages in batches: a lone message goes at once, those that come while a batch is written go together in
 * the next. `write` is `acceptMessages` on the pool; `onWritten` hears what each batch made. A batch that waits for a
 * room too long, or that fails for a reason that may pass, is written room by room.
 * @throws AppError `unavailable` when more than 4,000 messages wait to be written.
 */
export function createAcceptBatcher(write: Write, onWritten: OnWritten, now: () => number): Accept {
  const waiting: PendingMessage[] = [];
  const writePending = createWritePending(write, onWritten);
  const queues = createPerRoomQueues(writePending, now);
  let running = 0;
  let isScheduled = false;

  const flush = async (): Promise<void> => {
    isScheduled = false;
    const batch = waiting.splice(0, BATCH_MESSAGES).filter((one) => !queues.take(one));
    running++;
    await writeTogether(batch);
    running--;
    schedule();
  };
  const writeTogether = async (batch: readonly PendingMessage[]): Promise<void> => {
    if (batch.length === 0) return;
    try {
      await writePending(batch);
    } catch (error) {
      if (isLockTimeout(error) || isRepeatable(error)) queues.open(batch);
      else for (const { reject } of batch) reject(error);
    }
  };
  const schedule = (): void => {
    const isDue =
      running === 0 ? waiting.length > 0 : waiting.length >= BATCH_MESSAGES && running < FLUSHES_AT_ONCE;
    if (isScheduled || !isDue) return;
    isScheduled = true;
    // The requests of this turn of the loop come along.
    setImmediate(() => void flush());
  };
  return (message) => {
    if (waiting.length >= BACKLOG_MESSAGES) {
      return Promise.reject(
        new AppError("unavailable", "Too many messages at once. Try again.", { retryAfterMs: 1_000 }),
      );
    }
    return new Promise((resolve, reject) => {
      waiting.push({ message, sinceMs: now(), tries: 0, resolve, reject });
      schedule();
    });
  };
}

function createWritePending(write: Write, onWritten: OnWritten): WritePending {
  return async (batch) => {
    const acceptances = await write(batch.map(({ message }) => message));
    onWritten(acceptances);
    for (const [index, { resolve, reject }] of batch.entries()) {
      const acceptance = acceptances[index];
      if (acceptance) resolve(acceptance);
      else reject(new Error("a message of the batch was not answered"));
    }
  };
}
