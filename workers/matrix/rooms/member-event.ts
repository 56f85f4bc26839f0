import { z } from "zod";
import type { EventPeople } from "../content/index.ts";
import { hideMatrixIds } from "../content/read/matrix-ids.ts";
import { matrixEvent, type MatrixEvent } from "../event.ts";
import type { Requester } from "../http/client.ts";
import { unlessForbidden, unlessMissing } from "../http/failure.ts";
import { EventType, Membership } from "../names.ts";
import { roomPath } from "./room-path.ts";
import { getState } from "./state.ts";

/** An account in a room. */
type Target = { matrixRoomId: string; matrixUserId: string };

/**
 * A person was taken out of a room by somebody else, or left it. `atMs`: by the homeserver's clock. `isLeave`: the person left by
 * themselves.
 */
export type Removal = {
  eventId: string;
  sender: string;
  atMs: number;
  isBan: boolean;
  isLeave: boolean;
  reason: string | null;
};

const LATEST_MS = Date.UTC(9_999, 11, 31);
const REASON_MAX_LENGTH = 500;

/**
 * The removal that an event of the type `m.room.member` is: a ban, a kick, or that a person who was in the room left it. Null for one
 * by which a person comes, declines, or may come again after a ban.
 */
export function readRemoval(event: Omit<MatrixEvent, "type">): Removal | null {
  const { content, event_id: eventId, origin_server_ts: atMs, sender, state_key: member } = event;
  const former = event.unsigned?.prev_content?.["membership"];
  const isBan = content["membership"] === Membership.Ban;
  const isOut = content["membership"] === Membership.Leave;
  const isKick = isOut && sender !== member && former !== Membership.Ban;
  const isLeave = isOut && sender === member && former === Membership.Join;
  if (!isBan && !isKick && !isLeave) return null;
  // A homeserver may send any number as a time.
  const time = Math.min(Math.max(atMs, 0), LATEST_MS);
  return { eventId, sender, atMs: time, isBan, isLeave, reason: readReason(event) };
}

/** Why, in words that Postgres stores, with people's names in the place of Matrix ids. */
export function readReason(
  event: Pick<MatrixEvent, "content" | "sender">,
  people?: EventPeople,
): string | null {
  const { reason: given } = event.content;
  if (typeof given !== "string") return null;
  const reason = hideMatrixIds(given, event, people);
  // Made well-formed last: the cut may split a character, and Postgres refuses half of one.
  const safe = reason.replaceAll("\0", "").slice(0, REASON_MAX_LENGTH).toWellFormed();
  return safe === "" ? null : safe;
}

/** How a person was taken out of a room, or left it, as Matrix shows it now; null as for `readRemoval`. */
export async function findRemovalOnMatrix(observer: Requester, target: Target): Promise<Removal | null> {
  const state = `state/${EventType.RoomMember}/${encodeURIComponent(target.matrixUserId)}`;
  const event = await fetchEvent(observer, target, state);
  if (event === null) return null;
  const { unsigned, content } = event;
  const former = unsigned?.replaces_state;
  if (unsigned?.prev_content || former === undefined || content["membership"] !== Membership.Leave)
    return readRemoval(event);
  // The homeserver has not said what the event replaces: a ban that was ended looks like a kick.
  const replaced = await fetchEvent(observer, target, `event/${encodeURIComponent(former)}`);
  return readRemoval(replaced === null ? event : { ...event, unsigned: { prev_content: replaced.content } });
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
