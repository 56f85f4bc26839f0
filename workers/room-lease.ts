import { newFence } from "../shared/ids.ts";
import { LEASE_MS, releaseRoomLease, renewRoomLease } from "../shared/db/outbox.ts";
import type { WorkerContext } from "./context.ts";
import { takeRoom, type RoomFacts } from "./converge/room-facts.ts";

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
  /** Every message up to this order is settled: said when the lease is given back. */
  settle: (order: number) => void;
};

/**
 * Runs `work` as the only writer to a Matrix room, with what is known of the room. Null when somebody else is: they
 * wake what is due when they end.
 * The lease is given back whatever happens, and what is due in the room then is woken.
 */
export async function withRoomLease<T>(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  work: (lease: RoomLease, facts: RoomFacts) => Promise<T>,
): Promise<T | null> {
  const fence = newFence();
  const askedAtMs = performance.now();
  const facts = await takeRoom(context.db, room.tenantId, room.roomId, fence);
  if (facts === null) return null;
  context.metrics.leaseTaken.inc({ lease: "room" });
  const lease = keepLease(context, room.roomId, fence, askedAtMs);
  try {
    return await work(lease, facts);
  } catch (error) {
    if (error instanceof LeaseLost) context.metrics.leaseLost.inc({ lease: "room" });
    throw error;
  } finally {
    lease.stop();
    await giveBack(context, room, fence, lease.settledOrder());
  }
}

function keepLease(
  context: WorkerContext,
  roomId: string,
  fence: string,
  askedAtMs: number,
): RoomLease & { stop: () => void; settledOrder: () => number | null } {
  let settledOrder: number | null = null;
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
    settle: (order) => {
      settledOrder = order;
    },
    settledOrder: () => settledOrder,
    stop: () => {
      clearInterval(timer);
    },
  };
}

async function giveBack(
  context: WorkerContext,
  room: { tenantId: string; roomId: string },
  fence: string,
  settledOrder: number | null,
): Promise<void> {
  const due = await releaseRoomLease(context.db, room.roomId, fence, settledOrder);
  if (context.stopping.aborted) return;
  if (due.room)
    await context.wake("provisioning", { tenantId: room.tenantId, subject: "room", id: room.roomId });
  if (due.members) await context.wake("membership", room);
  if (due.messages) await context.wake("outbound-message", room);
}
