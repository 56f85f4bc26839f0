import { comparedKey, reactionKey } from "../../../shared/contract/content/reaction.ts";
import { readRelation, type MatrixEvent } from "../../matrix/event.ts";
import { MARKER } from "../../matrix/marker.ts";
import { RelationType } from "../../matrix/names.ts";
import { translateOwn } from "./own.ts";
import { readSender, readTime } from "./sender.ts";
import { NOTHING, type EventContext, type Translation } from "./translation.ts";

/** A reaction. A key that is too long, or names a picture, is not counted. */
export function translateReaction(roomId: string, event: MatrixEvent, context: EventContext): Translation {
  const own = translateOwn(roomId, event, context);
  if (own !== null) return own;
  const relation = readRelation(event);
  const key = reactionKey.safeParse(relation?.key);
  if (relation?.type !== RelationType.Annotation || !key.success) return NOTHING;
  return {
    kind: "act",
    act: {
      ...{ roomId, eventId: event.event_id, targetEventId: relation.eventId },
      kind: "reaction",
      content: { kind: "reaction", key: comparedKey(key.data), raw: key.data },
      senderMatrixId: event.sender,
      ...readSender(roomId, event, context),
      at: readTime(event.origin_server_ts),
    },
    isForged: event.content[MARKER] !== undefined,
  };
}
