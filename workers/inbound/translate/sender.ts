import { personRef } from "../../../shared/platform/ids.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { nameKey, type EventContext } from "./translation.ts";

/** Who caused an event. `name`: of a sender whom the tenant does not know; no Matrix id leaves the server. */
export function readSender(
  roomId: string,
  { sender }: MatrixEvent,
  { tenantId, userIds, names }: EventContext,
): { userId: string | null; name: string | null; ref: string } {
  const userId = userIds.get(sender);
  if (userId !== undefined) return { userId, name: null, ref: userId };
  const name = names.get(nameKey(roomId, sender)) ?? "Someone on Matrix";
  return { userId: null, name, ref: personRef(sender, tenantId) };
}

const LATEST_MS = Date.UTC(9_999, 11, 31);

/** A homeserver may send any number. A date that Postgres refuses would end the reading of all rooms. */
export function readTime(originServerTs: number): Date {
  return new Date(Math.min(Math.max(originServerTs, 0), LATEST_MS));
}
