import type { PendingSubscription } from "../channels/pending-subscription.ts";
import type { ReadRequest, Streams } from "../channels/streams.ts";
import type { Entry } from "../channels/topic-ref.ts";
import type { Limits } from "../limits.ts";
import { byteLengthOf, countMissed } from "./recover.ts";

export type ReadMissedDeps = { streams: Pick<Streams, "read">; limits: Limits };

/** Entries of the first page, and of one page at most. */
const FIRST_PAGE_ENTRIES = 128;
const PAGE_ENTRIES = 512;

/** A pending subscription and its entries: those that are read, and the request for those that are not. */
type Lack = { pending: PendingSubscription; entries: Entry[]; bytes: number; request: ReadRequest };

/**
 * Reads the entries that clients have missed, in pages over the rooms in their order. It stops reading a room that does not
 * fit in what the rooms before it leave of the limit: that room's client is not recovered.
 */
export async function readMissed(
  { streams, limits }: ReadMissedDeps,
  pendings: readonly PendingSubscription[],
): Promise<Map<PendingSubscription, Entry[]>> {
  const found = new Map<PendingSubscription, Entry[]>();
  const read = { entries: 0, bytes: 0 };
  let bytesLeft = limits.recoveredBytes;
  let lacks = planReads(pendings, limits.recoveredEntries);
  while (lacks.length > 0) {
    const page = takePage(lacks, decidePageEntries(read, bytesLeft));
    const answers = await streams.read(page.map(({ request }) => request));
    for (const [index, { lack, request }] of page.entries()) {
      const entries = answers[index] ?? [];
      const bytes = byteLengthOf(entries);
      read.entries += entries.length;
      read.bytes += bytes;
      bytesLeft -= bytes;
      const isLost = entries.length < request.count || bytesLeft < 0;
      if (isLost) bytesLeft += lack.bytes + bytes;
      lack.bytes += bytes;
      lack.entries.push(...entries);
      const count = isLost ? 0 : lack.request.count - request.count;
      lack.request = { ...request, after: request.after + request.count, count };
      if (!isLost && count === 0) found.set(lack.pending, lack.entries);
    }
    lacks = lacks.filter(({ request }) => request.count > 0);
  }
  return found;
}

/** The reads of the pending subscriptions that recover, together at most `maxEntries`. */
function planReads(pendings: readonly PendingSubscription[], maxEntries: number): Lack[] {
  let left = maxEntries;
  return pendings.flatMap((pending) => {
    const { topic, asked } = pending;
    if (!asked || topic.epoch === null) return [];
    const missed = countMissed(asked, { epoch: topic.epoch, number: topic.position });
    if (missed === null || missed === 0 || missed > left) return [];
    left -= missed;
    const { ref, scrubs } = topic;
    const request = { ref, epoch: asked.epoch, scrubs, after: asked.offset, count: missed };
    return [{ pending, entries: [], bytes: 0, request }];
  });
}

/** The first `entries` entries of what is lacking. */
function takePage(lacks: readonly Lack[], entries: number): { lack: Lack; request: ReadRequest }[] {
  let left = entries;
  return lacks.flatMap((lack) => {
    const count = Math.min(left, lack.request.count);
    left -= count;
    return count > 0 ? [{ lack, request: { ...lack.request, count } }] : [];
  });
}

/** About as many entries as fit in the bytes that are left, by the size of those that were read. */
export function decidePageEntries(read: { entries: number; bytes: number }, bytesLeft: number): number {
  if (read.entries === 0) return FIRST_PAGE_ENTRIES;
  const averageBytes = Math.max(1, read.bytes / read.entries);
  return Math.min(PAGE_ENTRIES, Math.floor(bytesLeft / averageBytes) + 1);
}
