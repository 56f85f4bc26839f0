/** A message that the API accepted, in the order of acceptance per room. Times by `performance.now()`. */
export type AcceptedMessage = { id: string; room: string; askedAtMs: number; acceptedAtMs: number };

/** The numbered messages that one socket received, in the order received. */
export type Received = {
  rooms: readonly string[];
  messages: readonly { id: string; channel: string }[];
};

/** Lost, doubled and reordered count each socket by itself. */
export type DeliveryCounts = {
  accepted: number;
  /** Messages that every socket of their room received. */
  delivered: number;
  lost: number;
  doubled: number;
  reordered: number;
};

/** Compares the accepted messages with what every member's socket received. */
export function checkDelivery(
  accepted: readonly AcceptedMessage[],
  sockets: readonly Received[],
): DeliveryCounts {
  const lostIds = new Set<string>();
  let lost = 0;
  let doubled = 0;
  let reordered = 0;
  for (const { rooms, messages } of sockets) {
    for (const room of rooms) {
      const expected = accepted.filter((message) => message.room === room).map((message) => message.id);
      const positions = new Map(expected.map((id, index) => [id, index]));
      const received = messages
        .filter((message) => message.channel === room && positions.has(message.id))
        .map((message) => message.id);
      const distinct = new Set(received);
      doubled += received.length - distinct.size;
      for (const id of expected) {
        if (distinct.has(id)) continue;
        lost++;
        lostIds.add(id);
      }
      reordered += countInversions([...distinct].map((id) => positions.get(id) ?? 0));
    }
  }
  return { accepted: accepted.length, delivered: accepted.length - lostIds.size, lost, doubled, reordered };
}

/** How many positions follow a higher one. */
function countInversions(positions: readonly number[]): number {
  let highest = -1;
  let inversions = 0;
  for (const position of positions) {
    if (position < highest) inversions++;
    highest = Math.max(highest, position);
  }
  return inversions;
}
