import { z } from "zod";
import type { Log } from "../../shared/platform/log.ts";
import type { RealtimeMetrics } from "../metrics.ts";
import type { Topic } from "./topic.ts";

const withId = z.object({ id: z.string() });

export type DeliveryLogDeps = { metrics: RealtimeMetrics; log: Log };

/** What was delivered. `number` is null for an event that is not part of the stream. `requestId`: the request that caused it. */
export type Delivery = { number: number | null; requestId: string | null; data: string };

/** Counts a publication that went to `sockets` subscribers. At level debug it logs its ids, never its text. */
export function logDelivery(
  { metrics, log }: DeliveryLogDeps,
  topic: Topic,
  delivery: Delivery,
  sockets: number,
): void {
  metrics.delivered(sockets);
  if (!log.isLevelEnabled("debug")) return;
  const { number, requestId, data } = delivery;
  const message = withId.safeParse(JSON.parse(data)).data?.id;
  log.debug({ [topic.ref.kind]: topic.ref.id, number, message, requestId, sockets }, "delivered");
}
