import type { JobName, JobPayload } from "../../shared/queues/index.ts";
import type { Position } from "../../shared/db/memberships/signs/positions.ts";
import type { AppendedRow } from "../../shared/timeline/append.ts";
import type { Receipt } from "../../shared/timeline/signs/receipts.ts";

/** A wake-up of one queue. */
export type JobWake<N extends JobName = JobName> = { [K in N]: { name: K; payload: JobPayload<K> } }[N];

/**
 * One thing to do after a transaction is committed. Each type is performed by one function in `perform.ts`. A lost side
 * effect loses nothing that was committed: a sweeper finds it in Postgres, or the timeline carries the same fact later.
 */
export type SideEffect =
  | ({ type: "wakeJob" } & JobWake)
  /** The room's timeline has new entries. */
  | { type: "publishTimeline"; roomId: string }
  /** The outbox of user events has new rows. */
  | { type: "publishUserEvents" }
  /** The members have read further, or marked messages as unread. */
  | { type: "publishUnread"; positions: readonly Position[] }
  /** Others see how far they have read. */
  | { type: "publishReceipts"; receipts: readonly Receipt[] }
  /** Entries that were just appended, by room and number. */
  | { type: "publishAppended"; entries: readonly AppendedRow[] };

export type SideEffectType = SideEffect["type"];
export type SideEffectOf<T extends SideEffectType> = Extract<SideEffect, { type: T }>;

type Room = { tenantId: string; roomId: string };

/** The room was made, changed or deleted: Matrix follows, and its timeline may have a new entry. */
export function roomChanged({ tenantId, roomId }: Room): SideEffect[] {
  return [
    { type: "wakeJob", name: "provisioning", payload: { tenantId, subject: "room", id: roomId } },
    { type: "publishTimeline", roomId },
  ];
}

/** Members joined, left or changed: Matrix follows, the timeline has new entries, and the members receive user events. */
export function membersChanged({ tenantId, roomId }: Room): SideEffect[] {
  return [
    { type: "wakeJob", name: "membership", payload: { tenantId, roomId } },
    { type: "publishTimeline", roomId },
    { type: "publishUserEvents" },
  ];
}
