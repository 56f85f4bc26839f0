import type { BanOnMatrix } from "../../../shared/db/bans/bans.ts";
import type { MatrixEvent } from "../../matrix/event.ts";
import { Membership } from "../../matrix/names.ts";
import { readReason, readRemoval } from "../../matrix/rooms/member-event.ts";
import { peopleOf } from "./people.ts";
import { readTime } from "./sender.ts";
import { NOTHING, type EventContext, type Translation } from "./translation.ts";

export function translateMember(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const membership = event.content["membership"];
  const userId = context.userIds.get(event.state_key ?? "");
  if (userId === undefined) {
    const isIn = membership === Membership.Join || membership === Membership.Invite;
    return isIn && event.state_key !== context.observerMatrixId ? { kind: "unknown-user" } : NOTHING;
  }
  if (membership === Membership.Join) return { kind: "membership", userId, applied: "in" };
  const isOut = membership === Membership.Leave || membership === Membership.Ban;
  if (!isOut) return NOTHING;
  const ban = othersBan({ roomId, userId }, event, context);
  const removal = othersRemoval(event, context);
  return { kind: "membership", userId, applied: "out", removal, ...(ban === null ? {} : { ban }) };
}

/** A removal that our observer did not cause. Also a ban by its account: that is looked at again, with what is wanted here. */
function othersRemoval(
  event: MatrixEvent,
  { observerMatrixId }: EventContext,
): { eventId: string; isBan: boolean } | null {
  const removal = readRemoval(event);
  if (removal === null || (removal.sender === observerMatrixId && !removal.isBan)) return null;
  return { eventId: removal.eventId, isBan: removal.isBan };
}

/** A ban, or the end of one, that our observer did not cause. */
function othersBan(
  place: { roomId: string; userId: string },
  event: MatrixEvent,
  context: EventContext,
): BanOnMatrix | null {
  const { observerMatrixId, userIds } = context;
  const isBan = event.content["membership"] === Membership.Ban;
  const isUnban = !isBan && event.unsigned?.prev_content?.["membership"] === Membership.Ban;
  if ((!isBan && !isUnban) || event.sender === observerMatrixId) return null;
  return {
    ...place,
    ...{ actorId: userIds.get(event.sender) ?? null, isBan },
    reason: readReason(event, peopleOf(place.roomId, event, context)),
    at: readTime(event.origin_server_ts).toISOString(),
  };
}
