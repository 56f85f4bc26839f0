import { checkDelivery, type DeliveryCounts, type Received } from "../scenario/checker.ts";
import type { Publication, Subscriber } from "../scenario/subscriber.ts";
import type { Posted } from "./posts.ts";
import type { Room } from "./rooms.ts";

type Socket = Pick<Subscriber, "publications" | "subscribed">;

/**
 * Compares what every socket received with what was accepted, both in the order of numbers. A socket must have what comes
 * after its first subscription. A message that came with another number than the API's answer counts as lost.
 */
export function judgeSockets(
  accepted: readonly Posted[],
  sockets: readonly Socket[],
  rooms: readonly Room[],
): DeliveryCounts {
  const numbers = new Map(accepted.map(({ id, number }) => [id, number]));
  const total = { accepted: accepted.length, delivered: 0, lost: 0, doubled: 0, reordered: 0 };
  const lacking = new Set<string>();
  for (const { publications, subscribed } of sockets) {
    const messages = publications.filter((one) => isNumberedAsAnswered(one, numbers));
    for (const { key } of rooms) {
      const after = subscribed.find(({ channel }) => channel === key)?.offset ?? 0;
      const expected = accepted.filter(({ room, number }) => room === key && number > after);
      const counts = judgeOne(expected, { rooms: [key], messages });
      for (const id of counts.lacking) lacking.add(id);
      total.lost += counts.lost;
      total.doubled += counts.doubled;
      total.reordered += counts.reordered;
    }
  }
  return { ...total, delivered: accepted.length - lacking.size };
}

function judgeOne(expected: readonly Posted[], received: Received) {
  const ids = new Set(received.messages.map(({ id }) => id));
  return {
    ...checkDelivery(expected, [received]),
    lacking: expected.filter(({ id }) => !ids.has(id)).map(({ id }) => id),
  };
}

function isNumberedAsAnswered(
  { type, id, number, offset }: Publication,
  numbers: ReadonlyMap<string, number>,
): boolean {
  return type === "message.created" && number !== null && number === numbers.get(id) && number === offset;
}
