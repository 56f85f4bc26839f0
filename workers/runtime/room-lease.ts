import { newFence } from "../../shared/platform/ids.ts";
import { every } from "../../shared/platform/concurrency/every.ts";
import { withTimeout } from "../../shared/platform/concurrency/with-timeout.ts";
import { LEASE_MS } from "../../shared/db/lease.ts";
import type { SentMessage } from "../../shared/db/messages/outbox.ts";
import {
  acquireRoomLease,
  releaseRoomLease,
  renewRoomLease,
  type LeasedRoom,
} from "../../shared/db/rooms/room-lease.ts";
import { redactDuplicateEvents } from "../outbound/redact-duplicate-events.ts";
import type { WorkerContext } from "./context.ts";

const RENEW_EVERY_MS = 2_000;
/** A renewal without an answer does not delay the next one, which uses another connection. */
const RENEWAL_WAIT_MS = 1_500;
/** A holder stops this long before somebody else can acquire the lease. */
const SAFETY_MS = 1_000;

/** The lease ended while its holder worked: after a freeze of the process, or with a slow database. The work must stop. */
export class LeaseLost extends Error {
  constructor() {
    super("the room's lease ended");
    this.name = "LeaseLost";
  }
}

/** The right of this process to write to one Matrix room. */
export type RoomLease = {
  readonly fence: string;
  /** Call it before each Matrix call. @throws LeaseLost */
  check: () => void;
  /** Every message up to this order number is sent or dead; `sent` are those that the release still has to mark. */
  settle: (order: number, sent: readonly SentMessage[]) => void;
};

type Settled = { order: number | null; sent: readonly SentMessage[] };

/**
 * Runs `work` as the only writer to a Matrix room, with the room's snapshot and, with `claim`, its oldest messages
 * claimed. Returns null without running it when somebody else holds the lease: the holder wakes what is due at its end.
 * Releases the lease in every case, and wakes what is due in the room then.
 * @throws LeaseLost also when the lease ended before the settled messages were marked.
 */
export async function withRoomLease<T>(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  work: (lease: RoomLease, leased: LeasedRoom) => Promise<T>,
  claim = 0,
): Promise<T | null> {
  const { tenantId, roomId } = room;
  const fence = newFence();
  const askedAtMs = performance.now();
  const leased = await acquireRoomLease(context.db, { tenantId, roomId, fence, claim });
  if (leased === null) return null;
  context.metrics.leaseTaken.inc({ lease: "room" });
  const lease = keepLease(context, roomId, fence, askedAtMs);
  try {
    return await workAndRelease(context, leased, lease, () => work(lease, leased));
  } catch (error) {
    if (error instanceof LeaseLost) context.metrics.leaseLost.inc({ lease: "room" });
    throw error;
  }
}

async function workAndRelease<T>(
  context: WorkerContext,
  room: LeasedRoom,
  lease: KeptLease,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } finally {
    lease.stop();
    await releaseAndWake(context, room, lease.fence, lease.settled());
  }
}

type KeptLease = RoomLease & { stop: () => void; settled: () => Settled };

/** Renews a lease until `stop`. */
function keepLease(context: WorkerContext, roomId: string, fence: string, askedAtMs: number): KeptLease {
  let settled: Settled = { order: null, sent: [] };
  let goodUntilMs = askedAtMs + LEASE_MS - SAFETY_MS;
  const renew = async () => {
    const renewedAtMs = performance.now();
    const isHeld = await renewRoomLease(context.db, roomId, fence);
    goodUntilMs = isHeld ? renewedAtMs + LEASE_MS - SAFETY_MS : 0;
  };
  const renewInTime = () => withTimeout(renew(), RENEWAL_WAIT_MS, () => undefined);
  const keeper = every(RENEW_EVERY_MS, renewInTime, (error) => {
    context.log.warn({ err: error, room: roomId }, "renewing a room's lease failed");
  });
  return {
    fence,
    check: () => {
      if (performance.now() >= goodUntilMs) throw new LeaseLost();
    },
    settle: (order, sent) => {
      settled = { order, sent };
    },
    settled: () => settled,
    stop: () => {
      // The release need not wait for a renewal under way: a renewal after it changes nothing.
      void keeper.stop();
    },
  };
}

async function releaseAndWake(
  context: WorkerContext,
  room: LeasedRoom,
  fence: string,
  { order, sent }: Settled,
): Promise<void> {
  const { tenant_id: tenantId, id: roomId } = room;
  const due = await releaseRoomLease(context.db, roomId, fence, order, sent);
  if (sent.length > 0 && !due.isMarked) throw new LeaseLost();
  if (!context.stopping.aborted) {
    if (due.room) await context.wake("provisioning", { tenantId, subject: "room", id: roomId });
    if (due.members) await context.wake("membership", { tenantId, roomId });
    if (due.messages) await context.wake("outbound-message", { tenantId, roomId });
  }
  await redactDuplicateEvents(context, room, due.duplicates);
}
