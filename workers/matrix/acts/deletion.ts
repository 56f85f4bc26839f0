import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import type { ActOnMatrix } from "./define.ts";
import { putPins } from "./pin.ts";

/** The message is redacted with its edits: they hold its texts, and a homeserver does not redact them with it. */
export const deletionOnMatrix: ActOnMatrix<ActContentOf<"deletion">> = {
  related: "edits",
  needsTarget: false,
  needsPins: ({ pinned = false }) => pinned,
  toCalls: ({ reason, pinned = false }, { targetEventId, related, pins }) => [
    ...(targetEventId === null ? [] : [{ redact: targetEventId, reason }]),
    ...related.map((eventId) => ({ redact: eventId, reason: null })),
    ...(pinned ? [putPins(pins)] : []),
  ],
};
