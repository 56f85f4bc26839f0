import type { EntryRow } from "../../db/timeline/entries.ts";

/*
 * A timeline consumer follows the timelines of all rooms by itself: webhooks, notifications, a search index. It has a
 * name, and a durable cursor for each room: the number of the last entry that it is done with.
 *
 * Marking. The transaction that appends marks `(consumer, room)` as due for every consumer in the table
 * `timeline_consumers`, in the statement that appends, while it holds the row lock of the room's timeline. Every process
 * that appends marks, also one that knows no consumer: the table decides, not the program.
 *
 * Delivering. One job for each mark reads the entries after the cursor, in order, as they are now: not as they were when
 * they were appended. It hands one after the other to the consumer and moves the cursor by compare-and-set, so a cursor
 * never goes back and of two jobs that run at once one ends. The job removes the mark under the row lock of the room's
 * timeline, and only when the cursor has reached the last number. An append waits for that lock or has it first, so no
 * mark is lost. A job that ends early leaves the mark, and the sweeper finds it.
 *
 * What a consumer can rely on:
 * - It receives every entry at least once. `(room, number)` is the key by which it recognises one that it had before.
 * - Within a room, an entry is delivered only when all entries before it were delivered, parked or cut.
 * - An entry whose delivery fails ten times is parked: it is kept in `parked_entries`, logged as an error and counted,
 *   and the cursor goes on.
 * - Where retention has cut entries after the cursor, it receives one `gap` with the first and last number, in order.
 * - `start: 1`: it receives all that the timelines held when it was registered. `start: "now"`: it receives what is
 *   appended after that. Rooms that are created later are read from their first entry in both cases.
 * - The cursors of a deleted room are deleted. The rooms of a paused tenant wait.
 *
 * Publishing is no such consumer. It runs inline after the commit, with a cursor of its own in `room_timeline`.
 */

/** `start` is read once, when the consumer is registered. A name is never given to another consumer. */
export type TimelineConsumer<Name extends string = string> = { name: Name; start: "now" | 1 };

/** Declares a consumer; its handler stands under the same name in `workers/consumers/index.ts`. */
export function defineConsumer<const Name extends string>(
  consumer: TimelineConsumer<Name>,
): TimelineConsumer<Name> {
  return consumer;
}

type Place = { tenantId: string; roomId: string };

/** What a consumer receives. `gap`: the entries from `from` to `to`, both included, do not exist any more. */
export type Delivery =
  | (Place & { type: "entry"; number: number; entry: EntryRow })
  | (Place & { type: "gap"; from: number; to: number });

/** The first and last number that a delivery is about. */
export function numbersOf(delivery: Delivery): { first: number; last: number } {
  if (delivery.type === "gap") return { first: delivery.from, last: delivery.to };
  return { first: delivery.number, last: delivery.number };
}
