import { z } from "zod";
import type { Log } from "../../shared/platform/log.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Topic } from "./topic.ts";

const named = z.object({ id: z.string() });

export type DeliveryLogDeps = { metrics: RealtimeMetrics; log: Log };

/** What was told. `number` null: not part of the stream. `requestId`: of the request that caused it, where one did. */
export type Delivery = { number: number | null; requestId: string | null; data: string };

/** Counts a publication that went to `sockets` subscribers, and says so at level debug: by its ids, never its words. */
export function logDelivery(
  { metrics, log }: DeliveryLogDeps,
  topic: Topic,
  delivered: Delivery,
  sockets: number,
): void {
  metrics.delivered(sockets);
  if (!log.isLevelEnabled("debug")) return;
  const { number, requestId, data } = delivered;
  const message = named.safeParse(JSON.parse(data)).data?.id;
  log.debug({ [topic.ref.kind]: topic.ref.id, number, message, requestId, sockets }, "delivered");
}
