import type { Claim, ClaimedMessage, SentMessage } from "../../shared/db/messages/outbox.ts";

/** A message that could not be sent, and why. */
export type Failure = { message: ClaimedMessage; error: unknown };

/** What the drain has sent of a claim, in its order, and the failure that ended it; null where none did. */
export type Batch = { sent: SentMessage[]; failure: Failure | null };

/** The modes of a room's drain, with what each knows. */
export type Modes = {
  /** The claimed messages are sent one after the other. */
  send: { claim: Claim };
  /** The whole claim is sent, and the room has more: it is marked, and the next messages are claimed. */
  claim: { sent: SentMessage[]; afterOrder: number };
  /** All of the room's messages are sent or dead. The release of the lease marks the last ones. */
  settle: { sent: SentMessage[]; order: number };
  /** The claim ends early: what was sent is marked, and what was not tried is queued again. */
  unclaim: { sent: SentMessage[]; untried: ClaimedMessage[]; failure: Failure | null };
  /** A message failed: the room is due later, or the message is dead. */
  fail: { failure: Failure };
  /** Other work may wait: the room is due at once, in another job. */
  yield: object;
  end: { retryInMs: number | null };
};

/** Where each mode may lead. */
export type Changes = {
  send: "claim" | "settle" | "unclaim";
  claim: "send";
  settle: "end";
  unclaim: "fail" | "yield";
  fail: "end";
  yield: "end";
};

export type Mode<M extends keyof Modes = keyof Modes> = { [K in M]: { mode: K } & Modes[K] }[M];

/** What is done in each mode. A step that leads where its mode may not lead does not compile. */
export type Steps = { [M in keyof Changes]: (at: Mode<M>) => Promise<Mode<Changes[M]>> };

/** Runs a drain from its first mode to its end. */
export async function runModes(steps: Steps, first: Mode<"send">): Promise<{ retryInMs: number | null }> {
  let at = first as Mode;
  while (at.mode !== "end") {
    // The step is that of the mode, which the compiler cannot follow through the union.
    at = await steps[at.mode](at as never);
  }
  return { retryInMs: at.retryInMs };
}

/** What follows a batch. `isOver`: the drain's time slice is over, so that it claims nothing more. */
export function afterBatch(claim: Claim, { sent, failure }: Batch, isOver: boolean): Mode<Changes["send"]> {
  const { messages, lastOrder, isWanted } = claim;
  requireOrder(claim, sent);
  const afterOrder = messages.at(-1)?.order_number ?? lastOrder;
  const isWhole = sent.length === messages.length;
  // The release of the lease finds what was accepted since.
  if (isWhole && afterOrder >= lastOrder) return { mode: "settle", sent, order: lastOrder };
  if (isWhole && !isWanted && !isOver) return { mode: "claim", sent, afterOrder };
  return {
    mode: "unclaim",
    sent,
    failure,
    untried: messages.slice(sent.length + (failure === null ? 0 : 1)),
  };
}

/** Messages are sent in the order in which they were accepted, without one between them left out. */
function requireOrder({ messages }: Claim, sent: readonly SentMessage[]): void {
  const isInOrder = messages.every((message, index) => {
    const next = messages[index + 1];
    return next === undefined || message.order_number < next.order_number;
  });
  if (!isInOrder || sent.some(({ id }, index) => id !== messages[index]?.id))
    throw new Error("a drain sends its messages out of order");
}
