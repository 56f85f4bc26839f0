import { CONTENT_EVENT_TYPES } from "../content/index.ts";
import { EventType } from "../names.ts";
import { SIGN_TYPES } from "./signs.ts";

/** The types of events that we read; all others stay on the homeserver. */
export const EVENT_TYPES: readonly string[] = [
  // A response that holds it reaches back to the room's beginning.
  EventType.RoomCreate,
  ...CONTENT_EVENT_TYPES,
  EventType.Reaction,
  EventType.RoomMember,
  EventType.RoomPowerLevels,
  EventType.RoomName,
  EventType.RoomTopic,
  EventType.RoomAvatar,
  EventType.RoomPinnedEvents,
  EventType.RoomJoinRules,
  EventType.RoomHistoryVisibility,
  EventType.RoomGuestAccess,
  EventType.RoomCanonicalAlias,
  // One of a state event changes the room's state.
  EventType.RoomRedaction,
  EventType.RoomEncryption,
  EventType.RoomMessageEncrypted,
  EventType.RoomTombstone,
];

/** Events of one room in one response; more of them make a gap. The homeserver's own limit is 100. */
const TIMELINE_LIMIT = 100;

const NOTHING = { types: [] };

/** What a long poll of `/sync` returns. */
export const LIVE_FILTER = JSON.stringify({
  presence: NOTHING,
  account_data: NOTHING,
  room: {
    include_leave: false,
    account_data: NOTHING,
    ephemeral: { types: SIGN_TYPES },
    state: { lazy_load_members: true, types: [] },
    timeline: { limit: TIMELINE_LIMIT, lazy_load_members: true, types: EVENT_TYPES },
  },
});

/** For a `/sync` that is asked for its position alone. */
export const NO_ROOMS_FILTER = JSON.stringify({
  presence: NOTHING,
  account_data: NOTHING,
  room: { rooms: [] },
});

/** What a page of a room's history holds. */
export const PAGE_FILTER = JSON.stringify({ types: EVENT_TYPES, lazy_load_members: true });
