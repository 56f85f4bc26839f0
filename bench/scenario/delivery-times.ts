import type { Publication } from "./subscriber.ts";
import type { AcceptedMessage } from "./checker.ts";

export type ScenarioMessage = AcceptedMessage & {
  number: number;
  /** The sender's first message in the room: the account, the room and the join are made for it. */
  isFirst: boolean;
};

/** Milliseconds from the request to each step. */
export type Latencies = {
  /** The API's answer. */
  accepted: number[];
  /** The last socket's `message.created`. */
  delivered: number[];
  /** The first `sent` that covers it: Matrix has it. A room gets one a second at most. */
  sent: number[];
  /** The same for the first message of each member in a room. */
  firstSent: number[];
};

/** What a kill of a process delays: `delivered`, of a realtime process; `sent`, of a worker. */
export type Delayed = "delivered" | "sent";

export type DeliveryTimes = ReturnType<typeof createDeliveryTimes>;

/** When each message arrived at the sockets and on Matrix, and how long that took to resume after a kill. */
export function createDeliveryTimes() {
  const lastCreated = new Map<string, number>();
  const sentOf = new Map<string, { number: number; atMs: number }[]>();
  const afterKill: ScenarioMessage[] = [];
  let kill: { atMs: number; delayed: Delayed } | null = null;
  const deliveredAt = ({ id }: ScenarioMessage) => lastCreated.get(id);
  const sentAt = ({ room, number }: ScenarioMessage) =>
    sentOf.get(room)?.find((sent) => sent.number >= number)?.atMs;
  const latency = (atMs: number | undefined, { askedAtMs }: AcceptedMessage) =>
    atMs === undefined ? [] : [atMs - askedAtMs];
  return {
    recordPublication: ({ type, id, channel, number, atMs }: Publication) => {
      if (type === "message.created") lastCreated.set(id, atMs);
      if (type !== "sent" || number === null) return;
      const sent = sentOf.get(channel) ?? [];
      sentOf.set(channel, sent);
      if ((sent.at(-1)?.number ?? -1) < number) sent.push({ number, atMs });
    },
    recordKill: (atMs: number, delayed: Delayed) => {
      kill = { atMs, delayed };
    },
    recordAccepted: (message: ScenarioMessage) => {
      if (kill !== null && message.askedAtMs > kill.atMs) afterKill.push(message);
    },
    isSent: (message: ScenarioMessage) => sentAt(message) !== undefined,
    /** From the kill to the first later message that got through what it delays; 0 without a kill. */
    recoveryMs: () => {
      if (kill === null) return 0;
      const { atMs, delayed } = kill;
      const times = afterKill.flatMap(
        (message) => (delayed === "sent" ? sentAt(message) : deliveredAt(message)) ?? [],
      );
      return times.length === 0 ? 0 : Math.round(Math.min(...times) - atMs);
    },
    latencies: (messages: readonly ScenarioMessage[]): Latencies => {
      const sent = (isFirst: boolean) =>
        messages
          .filter((message) => message.isFirst === isFirst)
          .flatMap((message) => latency(sentAt(message), message));
      return {
        accepted: messages.map(({ acceptedAtMs, askedAtMs }) => acceptedAtMs - askedAtMs),
        delivered: messages.flatMap((message) => latency(deliveredAt(message), message)),
        sent: sent(false),
        firstSent: sent(true),
      };
    },
  };
}
