import { isLockTimeout, isRepeatable } from "../../shared/db/connection/failures.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/accept-messages.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { createPerRoomQueues, type AcceptRequest, type WriteBatch } from "./per-room-queue.ts";

const MAX_BATCH_MESSAGES = 200;
const MAX_WRITES = 4;
const MAX_WAITING = 4_000;

export type Accept = (message: NewMessage) => Promise<Acceptance>;
type Write = (messages: readonly NewMessage[]) => Promise<Acceptance[]>;
type OnWritten = (acceptances: readonly Acceptance[]) => void;

/**
 * Accepts messages in batches. A lone message is written at once; messages that arrive during a write share the next
 * one. `write` is `acceptMessages` on the pool, `onWritten` receives the outcome of each batch before the requests do.
 * When a batch cannot lock one of its rooms, or fails for a passing reason, each of its rooms is written by itself.
 * @throws AppError `unavailable` while 4,000 messages wait to be written.
 */
export function createAcceptBatcher(write: Write, onWritten: OnWritten, now: () => number): Accept {
  const waiting: AcceptRequest[] = [];
  const writeBatch = createWriteBatch(write, onWritten);
  const roomQueues = createPerRoomQueues(writeBatch, now);
  let writes = 0;
  let isScheduled = false;

  const writeNext = async (): Promise<void> => {
    isScheduled = false;
    const batch = waiting.splice(0, MAX_BATCH_MESSAGES).filter((request) => !roomQueues.add(request));
    writes++;
    await writeTogether(batch);
    writes--;
    schedule();
  };
  const writeTogether = async (batch: readonly AcceptRequest[]): Promise<void> => {
    if (batch.length === 0) return;
    try {
      await writeBatch(batch);
    } catch (error) {
      if (isLockTimeout(error) || isRepeatable(error)) roomQueues.open(batch);
      else for (const { reject } of batch) reject(error);
    }
  };
  const schedule = (): void => {
    const isDue =
      writes === 0 ? waiting.length > 0 : waiting.length >= MAX_BATCH_MESSAGES && writes < MAX_WRITES;
    if (isScheduled || !isDue) return;
    isScheduled = true;
    // Requests that arrive in the same iteration of the event loop share the batch.
    setImmediate(() => void writeNext());
  };
  return (message) => {
    if (waiting.length >= MAX_WAITING) {
      return Promise.reject(
        new AppError("unavailable", "Too many messages at once. Try again.", { retryAfterMs: 1_000 }),
      );
    }
    return new Promise((resolve, reject) => {
      waiting.push({ message, sinceMs: now(), attempts: 0, resolve, reject });
      schedule();
    });
  };
}

function createWriteBatch(write: Write, onWritten: OnWritten): WriteBatch {
  return async (batch) => {
    const acceptances = await write(batch.map(({ message }) => message));
    onWritten(acceptances);
    for (const [index, { resolve, reject }] of batch.entries()) {
      const acceptance = acceptances[index];
      if (acceptance) resolve(acceptance);
      else reject(new Error("the batch has no outcome for a message"));
    }
  };
}
