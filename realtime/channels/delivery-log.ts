import { z } from "zod";
import type { Log } from "../../shared/platform/log.ts";
import type { Figures } from "../metrics.ts";
import type { Topic } from "./topic.ts";

const named = z.object({ id: z.string() });

export type ToldDeps = { figures: Figures; log: Log };

/** What was told. `number` null: not part of the stream. `requestId`: of the request that caused it, where one did. */
export type Told = { number: number | null; requestId: string | null; data: string };

/** Counts a publication that went to `sockets` subscribers, and says so at level debug: by its ids, never its words. */
export function countTold({ figures, log }: ToldDeps, topic: Topic, told: Told, sockets: number): void {
  figures.delivered(sockets);
  if (!log.isLevelEnabled("debug")) return;
  const { number, requestId, data } = told;
  const message = named.safeParse(JSON.parse(data)).data?.id;
  log.debug({ [topic.ref.kind]: topic.ref.id, number, message, requestId, sockets }, "delivered");
}
