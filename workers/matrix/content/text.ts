import { z } from "zod";
import type { ContentOf } from "../../../shared/contract/content/index.ts";
import { EventType, MsgType, RelationType, type RoomMessageTextEventContent } from "../names.ts";
import type { MatrixContent } from "./define.ts";

/** Notices and emotes of other Matrix clients are shown as text. */
const textEvent = z.object({
  msgtype: z.enum([MsgType.Text, MsgType.Notice, MsgType.Emote]),
  body: z.string(),
});
const edit = z.object({ "m.relates_to": z.object({ rel_type: z.literal(RelationType.Replace) }) });

export const textOnMatrix: MatrixContent<ContentOf<"text">> = {
  eventType: EventType.RoomMessage,
  toMatrix: ({ text }) => {
    const content = { msgtype: MsgType.Text, body: text } satisfies RoomMessageTextEventContent;
    return { type: EventType.RoomMessage, content };
  },
  fromMatrix: ({ type, content }) => {
    const parsed = textEvent.safeParse(content);
    if (type !== EventType.RoomMessage || !parsed.success || edit.safeParse(content).success) return null;
    const text = toSafeText(parsed.data.body);
    return text === "" ? null : { content: { kind: "text", text }, targetEventId: null };
  },
};

/** Matrix allows characters that Postgres and browsers refuse: NUL, and half of a surrogate pair. */
function toSafeText(body: string): string {
  return body.toWellFormed().replaceAll("\0", "");
}
