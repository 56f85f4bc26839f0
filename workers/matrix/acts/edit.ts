import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import { parseContent } from "../../../shared/contract/content/index.ts";
import { NO_MENTIONS, type Mentions } from "../../../shared/contract/content/message.ts";
import { fitEvent } from "../content/fit.ts";
import { mentionedIn, mentionsOnMatrix } from "../content/message.ts";
import { toMatrix } from "../content/index.ts";
import { RelationType } from "../names.ts";
import { requireTarget, type ActOnMatrix } from "./define.ts";

/**
 * The message as it is now stands in `m.new_content`. Around it is what a client shows that knows no edits: the plain text, without
 * a formatted form, so that the event holds the text twice at most. It mentions those alone whom the message did not mention:
 * the others know of it.
 */
export const editOnMatrix: ActOnMatrix<ActContentOf<"edit">> = {
  related: null,
  needsTarget: true,
  toCalls: ({ kind: _kind, of, ...text }, { targetEventId, people, formerMentions }) => {
    const relation = { rel_type: RelationType.Replace, event_id: requireTarget(targetEventId) };
    const added = addedMentions(text.mentions, formerMentions ?? NO_MENTIONS);
    const send = fitEvent(text, mentionedIn(text.mentions, people), (content, named) => {
      const edited = toMatrix(parseContent({ ...content, kind: of }), { targetEventId: null, people: named });
      const { msgtype, body } = edited.content;
      const fallback = { msgtype, body: `* ${String(body)}`, "m.mentions": mentionsOnMatrix(added, named) };
      return {
        type: edited.type,
        content: { ...fallback, "m.new_content": edited.content, "m.relates_to": relation },
      };
    });
    return [{ send }];
  },
};

function addedMentions(mentions: Mentions, former: Mentions): Mentions {
  return {
    users: mentions.users.filter((user) => !former.users.includes(user)),
    room: mentions.room && !former.room,
  };
}
