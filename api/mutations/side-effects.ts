import type { JobName, JobPayload } from "../../shared/queues/index.ts";
import type { FailedMessage } from "../../shared/timeline/publish-unnumbered.ts";

export type WakeCall = { [N in JobName]: { name: N; payload: JobPayload<N> } }[JobName];

/** What is to be told once a transaction is committed. All of it can be lost: sweepers find it in Postgres. */
export type SideEffects = {
  wakes: WakeCall[];
  /** Rooms whose timelines went on. */
  roomIds: string[];
  failed: FailedMessage[];
};

/** What comes after a change of a room or its members. */
export function sideEffectsOnRoom(
  { tenantId, roomId }: { tenantId: string; roomId: string },
  changed: { room: boolean; members: boolean; failed?: FailedMessage[] },
): SideEffects {
  return {
    wakes: [
      ...(changed.room
        ? [{ name: "provisioning" as const, payload: { tenantId, subject: "room" as const, id: roomId } }]
        : []),
      ...(changed.members ? [{ name: "membership" as const, payload: { tenantId, roomId } }] : []),
    ],
    roomIds: changed.room || changed.members ? [roomId] : [],
    failed: changed.failed ?? [],
  };
}
