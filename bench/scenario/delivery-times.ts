import type { Publication } from "./subscriber.ts";
import type { AcceptedMessage } from "./checker.ts";

export type ScenarioMessage = AcceptedMessage & {
  /** The sender's first message in the room: the account, the room and the join are made for it. */
  isFirst: boolean;
};

/** Milliseconds from the request to each step. */
export type Latencies = {
  /** The API's answer. */
  accepted: number[];
  /** The first `message.pending`. */
  pending: number[];
  /** The last socket's `message.created`. */
  delivered: number[];
  /** The same for the first message of each member in a room. */
  firstWords: number[];
};

export type DeliveryTimes = ReturnType<typeof createDeliveryTimes>;

/** When each message arrived at the sockets, and how long delivery took to resume after a kill. */
export function createDeliveryTimes() {
  const firstPending = new Map<string, number>();
  const lastCreated = new Map<string, number>();
  const sentAfterKill = new Set<string>();
  let killedAtMs: number | null = null;
  let firstAfterKillMs: number | null = null;
  const latency = (times: ReadonlyMap<string, number>, { id, askedAtMs }: AcceptedMessage) => {
    const atMs = times.get(id);
    return atMs === undefined ? [] : [atMs - askedAtMs];
  };
  return {
    recordPublication: ({ type, id, atMs }: Publication) => {
      if (type === "message.pending" && !firstPending.has(id)) firstPending.set(id, atMs);
      if (type !== "message.created") return;
      lastCreated.set(id, atMs);
      if (firstAfterKillMs === null && sentAfterKill.has(id)) firstAfterKillMs = atMs;
    },
    recordKill: (atMs: number) => {
      killedAtMs = atMs;
    },
    recordAccepted: ({ id, askedAtMs }: AcceptedMessage) => {
      if (killedAtMs !== null && askedAtMs > killedAtMs) sentAfterKill.add(id);
    },
    isDelivered: ({ id }: AcceptedMessage) => lastCreated.has(id),
    /** From the kill to the first delivery of a later message; 0 without a kill. */
    recoveryMs: () =>
      killedAtMs === null || firstAfterKillMs === null ? 0 : Math.round(firstAfterKillMs - killedAtMs),
    latencies: (messages: readonly ScenarioMessage[]): Latencies => {
      const delivered = (isFirst: boolean) =>
        messages
          .filter((message) => message.isFirst === isFirst)
          .flatMap((message) => latency(lastCreated, message));
      return {
        accepted: messages.map(({ acceptedAtMs, askedAtMs }) => acceptedAtMs - askedAtMs),
        pending: messages.flatMap((message) => latency(firstPending, message)),
        delivered: delivered(false),
        firstWords: delivered(true),
      };
    },
  };
}
