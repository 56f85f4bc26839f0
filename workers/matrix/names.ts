/**
 * Matrix's names, as the SDK defines them. From the SDK's files that hold names alone: the whole SDK takes 0.4 s to load,
 * and needs `http/polyfill.ts` before it.
 */
import { EventType as EventTypes } from "matrix-js-sdk/lib/@types/event.js";
import { KnownMembership } from "matrix-js-sdk/lib/@types/membership.js";

export { MsgType, RelationType } from "matrix-js-sdk/lib/@types/event.js";
export {
  GuestAccess,
  HistoryVisibility,
  JoinRule,
  Preset,
  Visibility,
} from "matrix-js-sdk/lib/@types/partials.js";
export type { RoomPowerLevelsEventContent } from "matrix-js-sdk/lib/@types/state_events.js";

/** The members of an enum as plain texts, to be compared with what a homeserver sends, which may be any text. */
type Texts<Enum extends Record<string, string>> = { readonly [Name in keyof Enum]: `${Enum[Name]}` };

export const EventType: Texts<typeof EventTypes> = EventTypes;
export const Membership: Texts<typeof KnownMembership> = KnownMembership;
