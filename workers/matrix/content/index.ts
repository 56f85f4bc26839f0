import type { Content, ContentKind, ContentOf } from "../../../shared/contract/content/index.ts";
import type { MatrixEvent } from "../event.ts";
import type { MatrixContent, MatrixRequest, ReceivedContent } from "./define.ts";
import { textOnMatrix } from "./text.ts";

/** What every kind of content needs here; a kind that lacks a direction does not compile. */
export type MatrixContents = { readonly [K in ContentKind]: MatrixContent<ContentOf<K>> };

/** Each kind of content on Matrix: the counterpart of `shared/contract/content/`. */
const MATRIX_CONTENT: MatrixContents = { text: textOnMatrix };

/** The types of events that may carry content. */
export const CONTENT_EVENT_TYPES: readonly string[] = [
  ...new Set(Object.values(MATRIX_CONTENT).map(({ eventType }) => eventType)),
];

/** The event that content becomes. */
export function toMatrix<K extends ContentKind>(
  content: ContentOf<K>,
  target: { targetEventId: string | null },
): MatrixRequest {
  return MATRIX_CONTENT[content.kind].toMatrix(content, target);
}

/** The content of an event that another client sent, by the first kind that recognises it; null when none does. */
export function fromMatrix(event: MatrixEvent): ReceivedContent<Content> | null {
  for (const kind of Object.values(MATRIX_CONTENT)) {
    const received = kind.fromMatrix(event);
    if (received) return received;
  }
  return null;
}
