import { newFence } from "../../shared/platform/ids.ts";
import {
  LEASE_MS,
  releaseRoomLease,
  renewRoomLease,
  type SentMessage,
} from "../../shared/db/messages/outbox.ts";
import type { WorkerContext } from "./context.ts";
import { acquireRoomLease, type LeasedRoom } from "../../shared/db/rooms/work-room.ts";

const RENEW_EVERY_MS = 2_000;
/** A holder stops this long before the lease could be somebody else's. */
const SAFETY_MS = 1_000;

/** The lease ended while its holder worked (a freeze, a slow database): what it does now is not to be believed. */
export class LeaseLost extends Error {
  constructor() {
    super("the room's lease ended");
    this.name = "LeaseLost";
  }
}

/** The right of this process to write to one Matrix room. */
export type RoomLease = {
  readonly fence: string;
  /** Called before each Matrix call. @throws LeaseLost */
  check: () => void;
  /** Every message up to this order is settled, these by being sent: written when the lease is given back. */
  settle: (order: number, sent: readonly SentMessage[]) => void;
};

type Settled = { order: number | null; sent: readonly SentMessage[] };

/**
 * Runs `work` as the only writer to a Matrix room, with what is known of the room and, where asked for, its oldest
 * messages claimed. Null when somebody else is: they wake what is due when they end.
 * The lease is given back whatever happens, and what is due in the room then is woken.
 * @throws LeaseLost too when the lease ended before what was settled could be written.
 */
export async function withRoomLease<T>(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  work: (lease: RoomLease, taken: LeasedRoom) => Promise<T>,
  claim = 0,
): Promise<T | null> {
  const { tenantId, roomId } = room;
  const fence = newFence();
  const askedAtMs = performance.now();
  const taken = await acquireRoomLease(context.db, { tenantId, roomId, fence, claim });
  if (taken === null) return null;
  context.metrics.leaseTaken.inc({ lease: "room" });
  const lease = keepLease(context, roomId, fence, askedAtMs);
  try {
    return await workAndGiveBack(context, room, lease, () => work(lease, taken));
  } catch (error) {
    if (error instanceof LeaseLost) context.metrics.leaseLost.inc({ lease: "room" });
    throw error;
  }
}

async function workAndGiveBack<T>(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  lease: KeptLease,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } finally {
    lease.stop();
    await giveBack(context, room, lease.fence, lease.settled());
  }
}

type KeptLease = RoomLease & { stop: () => void; settled: () => Settled };

function keepLease(context: WorkerContext, roomId: string, fence: string, askedAtMs: number): KeptLease {
  let settled: Settled = { order: null, sent: [] };
  let goodUntilMs = askedAtMs + LEASE_MS - SAFETY_MS;
  const timer = setInterval(() => {
    const renewedAtMs = performance.now();
    renewRoomLease(context.db, roomId, fence).then(
      (isHeld) => {
        goodUntilMs = isHeld ? renewedAtMs + LEASE_MS - SAFETY_MS : 0;
      },
      (error: unknown) => {
        context.log.warn({ err: error, room: roomId }, "renewing a room's lease failed");
      },
    );
  }, RENEW_EVERY_MS);
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
      clearInterval(timer);
    },
  };
}

async function giveBack(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  fence: string,
  { order, sent }: Settled,
): Promise<void> {
  const due = await releaseRoomLease(context.db, room.roomId, fence, order, sent);
  if (sent.length > 0 && !due.isMarked) throw new LeaseLost();
  if (context.stopping.aborted) return;
  if (due.room)
    await context.wake("provisioning", { tenantId: room.tenantId, subject: "room", id: room.roomId });
  if (due.members) await context.wake("membership", room);
  if (due.messages) await context.wake("outbound-message", room);
}
