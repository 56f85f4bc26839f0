import type { PendingSubscription } from "../channels/pending-subscription.ts";
import type { ReadRequest, Streams } from "../channels/streams.ts";
import type { Entry } from "../channels/topic-ref.ts";
import type { Limits } from "../limits.ts";
import { countMissed } from "./recover.ts";

export type ReadMissedDeps = { streams: Pick<Streams, "read" | "repair">; limits: Limits };

type Lack = { pending: PendingSubscription; request: ReadRequest };

/** Reads the entries that clients have missed. A stream that lacks some of them is repaired and read once more. */
export async function readMissed(
  { streams, limits }: ReadMissedDeps,
  pendings: readonly PendingSubscription[],
): Promise<Map<PendingSubscription, Entry[]>> {
  const lacks = planReads(pendings, limits.recoveredEntries);
  const found = new Map<PendingSubscription, Entry[]>();
  const first = await streams.read(lacks.map(({ request }) => request));
  for (const [index, { pending }] of lacks.entries()) found.set(pending, first[index] ?? []);
  const incomplete = lacks.filter(({ pending, request }) => !isComplete(found.get(pending) ?? [], request));
  if (incomplete.length === 0) return found;
  await Promise.all(incomplete.map(({ request }) => streams.repair(request)));
  const second = await streams.read(incomplete.map(({ request }) => request));
  for (const [index, { pending }] of incomplete.entries()) found.set(pending, second[index] ?? []);
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
    return [{ pending, request: { ref: topic.ref, epoch: asked.epoch, after: asked.offset, limit: missed } }];
  });
}

function isComplete(entries: readonly Entry[], { after, limit }: ReadRequest): boolean {
  return entries.length >= limit && entries[0]?.number === after + 1;
}
