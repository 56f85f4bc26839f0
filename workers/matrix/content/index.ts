import type { Content, ContentKind, ContentOf } from "../../../shared/contract/content/index.ts";
import type { MatrixEvent } from "../event.ts";
import type { EventPeople, MatrixContent, MatrixRequest, ReceivedContent, SentWith } from "./define.ts";
import { emoteOnMatrix } from "./emote.ts";
import { noticeOnMatrix } from "./notice.ts";
import { NOBODY } from "./read/matrix-ids.ts";
import { textOnMatrix } from "./text.ts";

export { namedPeople, wantsToMentionRoom } from "./read/mentions.ts";
export { readRelations } from "./read/relations.ts";
export type { EventPeople, NamedPerson } from "./define.ts";

/** What every kind of content needs here; a kind that lacks a direction does not compile. */
export type MatrixContents = { readonly [K in ContentKind]: MatrixContent<ContentOf<K>> };

/** Each kind of content on Matrix: the counterpart of `shared/contract/content/`. */
const MATRIX_CONTENT: MatrixContents = { text: textOnMatrix, emote: emoteOnMatrix, notice: noticeOnMatrix };

/** The types of events that may carry content. */
export const CONTENT_EVENT_TYPES: readonly string[] = [
  ...new Set(Object.values(MATRIX_CONTENT).flatMap(({ eventTypes }) => eventTypes)),
];

/** The event that content becomes. */
export function toMatrix<K extends ContentKind>(content: ContentOf<K>, given: SentWith): MatrixRequest {
  return MATRIX_CONTENT[content.kind].toMatrix(content, given);
}

/** The kind of content of ours that an event is, when it is ours; null for what we do not send. */
export function readKind(event: MatrixEvent): ContentKind | null {
  const kinds = Object.entries(MATRIX_CONTENT) as [ContentKind, MatrixContent<unknown>][];
  return kinds.find(([, kind]) => kind.isOfKind(event))?.[0] ?? null;
}

/** The content of an event that another client sent, by the first kind that recognises it; null when none does. */
export function fromMatrix(
  event: MatrixEvent,
  people: EventPeople = NOBODY,
): ReceivedContent<Content> | null {
  for (const kind of Object.values(MATRIX_CONTENT)) {
    const received = kind.fromMatrix(event, people);
    if (received) return received;
  }
  return null;
}
