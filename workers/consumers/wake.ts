import type { WorkerContext } from "../runtime/context.ts";

/**
 * Wakes the consumers of rooms that were just appended to, at best effort: the append has marked the rooms, and the
 * sweeper finds the marks.
 */
export function wakeConsumers(
  { consumers, wake }: WorkerContext,
  rows: readonly { tenant_id: string; room_id: string }[],
): void {
  if (consumers.length === 0) return;
  const tenantOf = new Map(rows.map((row) => [row.room_id, row.tenant_id]));
  for (const { name: consumer } of consumers)
    for (const [roomId, tenantId] of tenantOf) void wake("timeline-consumer", { tenantId, roomId, consumer });
}
