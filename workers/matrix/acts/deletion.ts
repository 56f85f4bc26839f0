import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import type { ActOnMatrix } from "./define.ts";

/** The message is redacted with its edits: they hold its texts, and a homeserver does not redact them with it. */
export const deletionOnMatrix: ActOnMatrix<ActContentOf<"deletion">> = {
  related: "edits",
  needsTarget: false,
  toCalls: ({ reason }, { targetEventId, related }) => [
    ...(targetEventId === null ? [] : [{ redact: targetEventId, reason }]),
    ...related.map((eventId) => ({ redact: eventId, reason: null })),
  ],
};
