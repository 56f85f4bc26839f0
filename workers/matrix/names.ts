/**
 * Matrix's names, as the SDK defines them. From the SDK's files that hold names alone: the SDK itself takes 0.4 s to load.
 */
import { EventType as EventTypes } from "matrix-js-sdk/lib/@types/event.js";
import { KnownMembership } from "matrix-js-sdk/lib/@types/membership.js";
import { GuestAccess, HistoryVisibility, Preset, Visibility } from "matrix-js-sdk/lib/@types/partials.js";

export { MsgType, RelationType } from "matrix-js-sdk/lib/@types/event.js";
export { GuestAccess, HistoryVisibility, Preset, Visibility };
export type { RoomMessageTextEventContent } from "matrix-js-sdk/lib/@types/events.js";

/** The members of an enum as plain texts, for comparison with what a homeserver sent: that may be any text. */
type Texts<Enum extends Record<string, string>> = { readonly [Name in keyof Enum]: `${Enum[Name]}` };

export const EventType: Texts<typeof EventTypes> = EventTypes;
export const Membership: Texts<typeof KnownMembership> = KnownMembership;
