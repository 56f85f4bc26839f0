import type { Acceptance, NewMessage } from "../shared/db/messages.ts";
import { isRepeatable } from "../shared/db/failures.ts";
import { AppError } from "../shared/errors.ts";

const BATCH_MESSAGES = 200;
const FLUSHES_AT_ONCE = 4;
const BACKLOG_MESSAGES = 4_000;
const TRIES_EACH = 5;

export type Accept = (message: NewMessage) => Promise<Acceptance>;

type Waiting = {
  message: NewMessage;
  resolve: (acceptance: Acceptance) => void;
  reject: (error: unknown) => void;
};

/**
 * Accepts messages in batches: a lone message goes at once, those that come while a batch is written go together in
 * the next. `write` is `acceptMessages` on the pool; `onWritten` hears what each batch made.
 * @throws AppError `unavailable` when more than 4,000 messages wait to be written.
 */
export function createAcceptBatcher(
  write: (messages: readonly NewMessage[]) => Promise<Acceptance[]>,
  onWritten: (acceptances: readonly Acceptance[]) => void,
): Accept {
  const waiting: Waiting[] = [];
  let running = 0;
  let isScheduled = false;

  const flush = async (): Promise<void> => {
    isScheduled = false;
    const batch = waiting.splice(0, BATCH_MESSAGES);
    if (batch.length === 0) return;
    running++;
    await writeBatch(batch, write, onWritten);
    running--;
    schedule();
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
      waiting.push({ message, resolve, reject });
      schedule();
    });
  };
}

async function writeBatch(
  batch: readonly Waiting[],
  write: (messages: readonly NewMessage[]) => Promise<Acceptance[]>,
  onWritten: (acceptances: readonly Acceptance[]) => void,
): Promise<void> {
  try {
    const acceptances = await write(batch.map(({ message }) => message));
    onWritten(acceptances);
    for (const [index, { resolve, reject }] of batch.entries()) {
      const acceptance = acceptances[index];
      if (acceptance) resolve(acceptance);
      else reject(new Error("a message of the batch was not answered"));
    }
  } catch (error) {
    if (isRepeatable(error)) await writeEach(batch, write, onWritten);
    else for (const { reject } of batch) reject(error);
  }
}

/** One by one, so that one message's trouble is not the others'. */
async function writeEach(
  batch: readonly Waiting[],
  write: (messages: readonly NewMessage[]) => Promise<Acceptance[]>,
  onWritten: (acceptances: readonly Acceptance[]) => void,
): Promise<void> {
  for (const { message, resolve, reject } of batch) {
    try {
      const acceptance = await writeOne(message, write);
      onWritten([acceptance]);
      resolve(acceptance);
    } catch (error) {
      reject(error);
    }
  }
}

async function writeOne(
  message: NewMessage,
  write: (messages: readonly NewMessage[]) => Promise<Acceptance[]>,
): Promise<Acceptance> {
  for (let attempt = 1; ; attempt++) {
    try {
      const [acceptance] = await write([message]);
      if (!acceptance) throw new Error("the message was not answered");
      return acceptance;
    } catch (error) {
      if (attempt >= TRIES_EACH || !isRepeatable(error)) throw error;
    }
  }
}
