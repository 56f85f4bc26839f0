import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import { EventType, RelationType } from "../names.ts";
import { requireTarget, type ActOnMatrix } from "./define.ts";

export const reactionOnMatrix: ActOnMatrix<ActContentOf<"reaction">> = {
  related: null,
  needsTarget: true,
  toCalls: ({ key, raw = key }, { targetEventId }) => {
    const relation = {
      rel_type: RelationType.Annotation,
      event_id: requireTarget(targetEventId),
      key: raw,
    };
    return [{ send: { type: EventType.Reaction, content: { "m.relates_to": relation } } }];
  },
};
