import type { Mentions } from "../../../shared/contract/content/message.ts";
import type { MatrixRequest, NamedPerson } from "../content/define.ts";

/** A call that carries out an act, or a part of it. `reason` is shown with the redaction. A state that is put
 * has no marker, and is not seen as the act's. */
export type ActCall =
  | { send: MatrixRequest }
  | { redact: string; reason: string | null }
  | { putState: string; content: Record<string, unknown> };

/** Events that an act needs beside its target: those of the message's edits, or of the person's reactions with the key. */
export type RelatedEvents = "edits" | "reactions";

/**
 * What an act is sent with. `related`: ids of events, the oldest first. `people`: whom it mentions, by their own ids;
 * `formerMentions`: whom the message mentioned before. `pins`: events of the pinned messages, in their order; empty for an act that does not need them.
 */
export type ActSentWith = {
  targetEventId: string | null;
  related: readonly string[];
  pins: readonly string[];
  people: ReadonlyMap<string, NamedPerson>;
  formerMentions: Mentions | null;
};

/** One kind of act on Matrix, on its way out. `workers/inbound/translate/` reads what other clients did. Pure. */
export type ActOnMatrix<Content> = {
  readonly related: RelatedEvents | null;
  /** Whether it writes the list of the pinned messages; absent: never. */
  needsPins?(content: Content): boolean;
  /** Whether a deletion of the message takes the act with it. */
  readonly needsTarget: boolean;
  /**
   * The calls. The event of the first one is the act's: it has the marker, and the act's id as its transaction id. It is made last.
   * None: nothing of what the act ends is on Matrix.
   */
  toCalls(content: Content, given: ActSentWith): readonly ActCall[];
};

/** The target's event of an act that needs its target. */
export function requireTarget(targetEventId: string | null): string {
  if (targetEventId === null) throw new Error("the act needs the event of its message");
  return targetEventId;
}
