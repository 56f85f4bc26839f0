import { z } from "zod";
import { matrixEvent, type MatrixEvent } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { unlessForbidden, unlessMissing } from "../http/failure.ts";
import { EventType, Membership } from "../names.ts";
import { roomPath } from "./room-path.ts";
import { getState } from "./state.ts";

/** An account in a room. */
type Target = { matrixRoomId: string; matrixUserId: string };

/** Somebody else took a person out of a room. `atMs`: by the homeserver's clock. */
export type Removal = { eventId: string; sender: string; atMs: number; isBan: boolean };

const LATEST_MS = Date.UTC(9_999, 11, 31);

/**
 * The removal that an event of the type `m.room.member` is: a ban, or a kick. Null for one by which a person comes, leaves
 * by themselves, or may come again after a ban.
 */
export function readRemoval(event: Omit<MatrixEvent, "type">): Removal | null {
  const { content, event_id: eventId, origin_server_ts: atMs, sender, state_key: member, unsigned } = event;
  const isBan = content["membership"] === Membership.Ban;
  const isUnban = unsigned?.prev_content?.["membership"] === Membership.Ban;
  const isKick = content["membership"] === Membership.Leave && sender !== member && !isUnban;
  // A homeserver may send any number as a time.
  return isBan || isKick ? { eventId, sender, atMs: Math.min(Math.max(atMs, 0), LATEST_MS), isBan } : null;
}

/** How somebody else took a person out of a room, as Matrix shows it now; null as for `readRemoval`. */
export async function findRemovalOnMatrix(observer: Requester, target: Target): Promise<Removal | null> {
  const state = `state/${EventType.RoomMember}/${encodeURIComponent(target.matrixUserId)}`;
  const event = await fetchEvent(observer, target, state);
  if (event === null) return null;
  const removal = readRemoval(event);
  const former = event.unsigned?.replaces_state;
  if (removal === null || removal.isBan || event.unsigned?.prev_content || former === undefined)
    return removal;
  // The homeserver has not said what the event replaces: a ban that was ended looks like a kick.
  const replaced = await fetchEvent(observer, target, `event/${encodeURIComponent(former)}`);
  return replaced?.content["membership"] === Membership.Ban ? null : removal;
}

async function fetchEvent(
  observer: Requester,
  { matrixRoomId, matrixUserId }: Target,
  rest: string,
): Promise<MatrixEvent | null> {
  const path = roomPath(matrixRoomId, rest);
  const found = await unlessMissing(observer({ method: "GET", path, query: { format: "event" } }));
  const parsed = matrixEvent.safeParse(found);
  return parsed.success ? { ...parsed.data, state_key: matrixUserId } : null;
}

const membershipContent = z.looseObject({ membership: z.string() });

/**
 * Whether an account is in a room now. Synapse still answers an account that has left, with the state of that moment: the
 * account's own membership is the one thing in it that is of now.
 */
export async function isInRoom(self: Requester, target: Target): Promise<boolean> {
  const { matrixRoomId, matrixUserId: key } = target;
  const state = getState(self, { matrixRoomId, type: EventType.RoomMember, key });
  // Null: the account never was in the room. Any other refusal, as of a device that is gone, says nothing of the room.
  const content = await unlessForbidden(state);
  if (content === null) return false;
  const parsed = membershipContent.safeParse(content);
  return !parsed.success || parsed.data.membership === Membership.Join;
}
