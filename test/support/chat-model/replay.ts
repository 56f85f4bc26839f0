import { isDeepStrictEqual } from "node:util";
import type { Publication } from "../../../shared/contract/frames.ts";
import { EMPTY_VIEW, mergePage, reduce, type RoomView } from "../../../shared/contract/reduce.ts";
import type { MessageResource } from "../../../shared/contract/resources.ts";
import type { Snapshot } from "./chat.ts";

/** How much of a page a client has that has read the newest messages alone. */
const SHORT_PAGE = 3;

type Replay = { what: string; view: RoomView; isWhole: boolean };

/**
 * What differs for clients that replay publications over a page, from what the last page shows: from each page and from each number
 * up to it, what was published at that moment, and what the timeline gives afterwards. Null when nothing differs.
 */
export function findDifference(
  snapshots: readonly Snapshot[],
  { published, stored }: { published: readonly Publication[]; stored: readonly Publication[] },
): string | null {
  const last = snapshots.at(-1);
  if (!last) return "there is no page";
  for (const { what, view, isWhole } of replays(snapshots, { published, stored })) {
    const held = [...view.messages.values()].toSorted(
      (one, other) => (one.number ?? 0) - (other.number ?? 0),
    );
    const from = held[0]?.number ?? 0;
    const wanted = isWhole ? last.items : last.items.filter(({ number }) => (number ?? 0) >= from);
    if (isDeepStrictEqual(held.map(comparable), wanted.map(comparable))) continue;
    return `${what}\nends in ${JSON.stringify(held.map(comparable), null, 1)}\ninstead of ${JSON.stringify(wanted.map(comparable), null, 1)}`;
  }
  return null;
}

function* replays(
  snapshots: readonly Snapshot[],
  given: { published: readonly Publication[]; stored: readonly Publication[] },
): Generator<Replay> {
  for (const [how, events] of Object.entries(given)) {
    yield { what: `${how} from nothing`, view: events.reduce(reduce, EMPTY_VIEW), isWhole: true };
    for (const { number, items } of snapshots) {
      for (let from = 0; from <= number; from++) {
        const after = events.filter((event) => numberOf(event) > from);
        const what = `${how} after ${String(from)} over the page at ${String(number)}`;
        yield { what, view: after.reduce(reduce, mergePage(EMPTY_VIEW, items)), isWhole: true };
      }
      const after = events.filter((event) => numberOf(event) > number);
      const short = mergePage(EMPTY_VIEW, items.slice(-SHORT_PAGE));
      const what = `${how} over the newest messages at ${String(number)}`;
      yield { what, view: after.reduce(reduce, short), isWhole: items.length <= SHORT_PAGE };
    }
  }
}

export function numberOf(event: Publication): number {
  return "number" in event && event.number !== null && event.type !== "sent" ? event.number : 0;
}

/**
 * `sent` has no entry: how far Matrix is, is published apart. That a message is dead has one, unless it is deleted: nobody cares then
 * whether Matrix has had it.
 */
function comparable({ status, error, ...message }: MessageResource): Record<string, unknown> {
  const isDead = message.deletedAt === null && status === "dead";
  return { ...message, isDead, error: isDead ? error : null };
}
