import { isLockTimeout, isRepeatable } from "../../shared/db/connection/failures.ts";
import type { Acceptance, NewMessage } from "../../shared/db/messages/messages.ts";
import { AppError } from "../../shared/contract/errors.ts";
import { turnOf } from "../../shared/platform/concurrency/keyed-mutex.ts";

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
export type Waiting = {
  message: NewMessage;
  sinceMs: number;
  /** How often it failed by itself. */
  tries: number;
  resolve: (acceptance: Acceptance) => void;
  reject: (error: unknown) => void;
};

/** Writes messages in one transaction and answers them. @throws what Postgres throws; then none is answered. */
export type WriteWaiting = (batch: readonly Waiting[]) => Promise<void>;

export type RoomLines = {
  /** Whether the room of a message has a line: then the message has come into it. */
  take: (waiting: Waiting) => boolean;
  /** Takes messages that could not be written together, each into its room's line. */
  open: (batch: readonly Waiting[]) => void;
};

type Line = { key: string; waiting: Waiting[]; atOnce: number };

/**
 * Lines of messages, one per room, each written by itself: where somebody holds a room, or one message spoils its
 * batch, the messages of the other rooms do not wait. A line goes when it is empty. What waits for a room for more than
 * 10 s is answered `unavailable`, and so is what comes when a line holds 1,000 messages, or all of them 4,000.
 */
export function createRoomLines(write: WriteWaiting, now: () => number): RoomLines {
  const lines = new Map<string, Line>();
  // Lines that were never tried go first: most of them are held by nobody, and were only beside one that is.
  const fresh: Line[] = [];
  const tried: Line[] = [];
  let running = 0;

  const run = async (line: Line): Promise<void> => {
    running++;
    await writeSome(line, write, now);
    running--;
    if (line.waiting.length > 0) tried.push(line);
    else lines.delete(line.key);
    runDue();
  };
  const runDue = (): void => {
    while (running < LINES_AT_ONCE) {
      const line = fresh.shift() ?? tried.shift();
      if (!line) return;
      void run(line);
    }
  };
  const push = (line: Line, waiting: Waiting): void => {
    const all = [...lines.values()].reduce((sum, { waiting: { length } }) => sum + length, 0);
    if (line.waiting.length < LINE_MESSAGES && all < LINES_MESSAGES) line.waiting.push(waiting);
    else waiting.reject(describeHeld());
  };
  const openLine = (key: string): Line => {
    const line = { key, waiting: [], atOnce: BATCH_MESSAGES };
    lines.set(key, line);
    fresh.push(line);
    return line;
  };
  return {
    take(waiting) {
      const line = lines.get(keyOf(waiting));
      if (line) push(line, waiting);
      return line !== undefined;
    },
    open(batch) {
      for (const waiting of batch) push(lines.get(keyOf(waiting)) ?? openLine(keyOf(waiting)), waiting);
      runDue();
    },
  };
}

function keyOf({ message }: Waiting): string {
  return turnOf(message.tenantId, message.room);
}

/** Writes the first of a line: together, and after a failure one by one, so that one message's trouble is not the others'. */
async function writeSome(line: Line, write: WriteWaiting, now: () => number): Promise<void> {
  const batch = line.waiting.slice(0, line.atOnce);
  const leave = (error: unknown) => {
    for (const { reject } of line.waiting.splice(0, batch.length)) reject(error);
  };
  try {
    await write(batch);
    line.waiting.splice(0, batch.length);
    line.atOnce = Math.min(line.atOnce * 2, BATCH_MESSAGES);
  } catch (error) {
    if (isLockTimeout(error)) giveUpOld(line, now(), error);
    else if (!isRepeatable(error)) leave(error);
    else if (batch.length > 1) line.atOnce = 1;
    else if (batch.every((one) => ++one.tries >= TRIES_EACH)) leave(describeHeld(error));
  }
}

function giveUpOld(line: Line, nowMs: number, cause: unknown): void {
  const isOld = ({ sinceMs }: Waiting) => nowMs - sinceMs >= WAIT_AT_MOST_MS;
  for (const { reject } of line.waiting.filter(isOld)) reject(describeHeld(cause));
  line.waiting = line.waiting.filter((waiting) => !isOld(waiting));
}

function describeHeld(cause?: unknown): AppError {
  return new AppError("unavailable", "The room is being changed. Try again.", {
    cause,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
