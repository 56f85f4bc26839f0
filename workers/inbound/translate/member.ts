import type { MatrixEvent } from "../../matrix/event.ts";
import { Membership } from "../../matrix/names.ts";
import { readRemoval } from "../../matrix/rooms/member-event.ts";
import { NOTHING, type EventContext, type Translation } from "./translation.ts";

export function translateMember(_roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const membership = event.content["membership"];
  const userId = context.userIds.get(event.state_key ?? "");
  if (userId === undefined) {
    const isIn = membership === Membership.Join || membership === Membership.Invite;
    return isIn && event.state_key !== context.observerMatrixId ? { kind: "unknown-user" } : NOTHING;
  }
  if (membership === Membership.Join) return { kind: "membership", userId, applied: "in" };
  const isOut = membership === Membership.Leave || membership === Membership.Ban;
  return isOut
    ? { kind: "membership", userId, applied: "out", removal: othersRemoval(event, context) }
    : NOTHING;
}

/** A removal that our observer did not cause. It never bans: a ban by its account is of the homeserver's operator. */
function othersRemoval(
  event: MatrixEvent,
  { observerMatrixId }: EventContext,
): { eventId: string; isBan: boolean } | null {
  const removal = readRemoval(event);
  if (removal === null || (removal.sender === observerMatrixId && !removal.isBan)) return null;
  return { eventId: removal.eventId, isBan: removal.isBan };
}
