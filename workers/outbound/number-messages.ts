import { numberRoom } from "../../shared/db/messages/number-older.ts";
import { publish } from "../inbound/publish-applied.ts";
import type { WorkerContext } from "../runtime/context.ts";

/** For one version: numbers the messages of a room that a process of version 0.2 accepted, and publishes them. */
export async function numberAndPublish(context: WorkerContext, roomId: string): Promise<void> {
  await publish(context, await numberRoom(context.db, roomId));
}
