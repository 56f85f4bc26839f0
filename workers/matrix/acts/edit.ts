import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import { parseContent } from "../../../shared/contract/content/index.ts";
import { toMatrix } from "../content/index.ts";
import { RelationType } from "../names.ts";
import { requireTarget, type ActOnMatrix } from "./define.ts";

/**
 * The message as it is now stands in `m.new_content`. Around it is what a client shows that knows no edits: the plain text, without
 * a formatted form, so that the event holds the text twice at most. It mentions nobody: who was mentioned knows of the message.
 */
export const editOnMatrix: ActOnMatrix<ActContentOf<"edit">> = {
  related: null,
  needsTarget: true,
  toCalls: ({ kind: _kind, of, ...content }, { targetEventId }) => {
    const edited = toMatrix(parseContent({ ...content, kind: of }), { targetEventId: null });
    const { msgtype, body } = edited.content;
    const fallback = { msgtype, body: `* ${String(body)}`, "m.mentions": {} };
    const relation = { rel_type: RelationType.Replace, event_id: requireTarget(targetEventId) };
    return [
      {
        send: {
          type: edited.type,
          content: { ...fallback, "m.new_content": edited.content, "m.relates_to": relation },
        },
      },
    ];
  },
};
