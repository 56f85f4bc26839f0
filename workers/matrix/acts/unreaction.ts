import type { ActContentOf } from "../../../shared/contract/content/acts.ts";
import type { ActOnMatrix } from "./define.ts";

/** Every event of the person's reaction with this key is redacted: clients may have made more than one. */
export const unreactionOnMatrix: ActOnMatrix<ActContentOf<"unreaction">> = {
  related: "reactions",
  needsTarget: false,
  toCalls: (_content, { related }) => related.map((eventId) => ({ redact: eventId, reason: null })),
};
