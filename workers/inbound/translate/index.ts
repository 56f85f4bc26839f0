import { CONTENT_EVENT_TYPES } from "../../matrix/content/index.ts";
import { EventType } from "../../matrix/names.ts";
import { CONFIGURATION, translateConfiguration } from "./configuration.ts";
import { translateContent } from "./content.ts";
import { translateDescription } from "./description.ts";
import { translateMember } from "./member.ts";
import { translatePins } from "./pins.ts";
import { translateReaction } from "./reaction.ts";
import { translateRedaction } from "./redaction.ts";
import { translateTombstone } from "./tombstone.ts";
import { NOTHING, type Translation, type Translator } from "./translation.ts";

/** How events are translated, by their type: one file and one line a type. Events of other types change nothing. */
const TRANSLATORS: ReadonlyMap<string, Translator> = new Map<string, Translator>([
  ...CONTENT_EVENT_TYPES.map((type) => [type, translateContent] as const),
  [EventType.Reaction, translateReaction],
  [EventType.RoomRedaction, translateRedaction],
  [EventType.RoomMember, translateMember],
  ...[...CONFIGURATION.keys()].map((type) => [type, translateConfiguration] as const),
  [EventType.RoomName, translateDescription],
  [EventType.RoomTopic, translateDescription],
  [EventType.RoomPinnedEvents, translatePins],
  [EventType.RoomTombstone, translateTombstone],
  [EventType.RoomEncryption, (): Translation => ({ kind: "encrypted" })],
  [EventType.RoomMessageEncrypted, (): Translation => ({ kind: "encrypted" })],
]);

export const translateEvent: Translator = (roomId, event, context) =>
  TRANSLATORS.get(event.type)?.(roomId, event, context) ?? NOTHING;
