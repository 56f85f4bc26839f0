import type { MatrixEvent } from "../event.ts";

/** An event to be sent; the sender adds the marker and the transaction id. */
export type MatrixRequest = { type: string; content: Record<string, unknown> };

/** What an event of another client holds. `targetEventId`: the event that it changes; null for a kind that relates to none. */
export type ReceivedContent<Content> = { content: Content; targetEventId: string | null };

/** One kind of content on Matrix, in both directions. Pure: the callers resolve ids. */
export type MatrixContent<Content> = {
  /** The type of its events. */
  readonly eventType: string;
  /** `targetEventId`: the event that it changes, null for a kind that relates to none. */
  toMatrix(content: Content, target: { targetEventId: string | null }): MatrixRequest;
  /** Null for an event that is not of this kind. */
  fromMatrix(event: MatrixEvent): ReceivedContent<Content> | null;
};
