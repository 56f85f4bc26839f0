import { z } from "zod";
import type { EntryType } from "../frames.ts";
import type { ContentFields } from "../resources.ts";
import type { ContentType } from "./define.ts";
import { emote } from "./emote.ts";
import { notice } from "./notice.ts";
import { text } from "./text.ts";

/** Every kind of content: one file and one word here. Its form on Matrix is in `workers/matrix/content/`. */
const KINDS = { text, notice, emote };
type Kinds = typeof KINDS;

export type ContentKind = keyof Kinds;
/** What rows keep of one kind. */
export type ContentOf<K extends ContentKind> = {
  [P in K]: { kind: P } & z.output<Kinds[P]["content"]>;
}[K];
/** What rows keep of any kind, distinguished by `kind`. */
export type Content = ContentOf<ContentKind>;

export const CONTENT: {
  readonly [K in ContentKind]: ContentType<z.ZodType<ContentOf<K>>>;
} = KINDS;

const kinds = Object.keys(CONTENT) as ContentKind[];

/** The kind of rows that name none. */
export const DEFAULT_KIND: ContentKind = "text";

const keptKind = z.object({ kind: z.enum(kinds).default(DEFAULT_KIND) });

/** Reads what a row keeps. @throws a ZodError for a kind that this program does not know. */
export function parseContent(kept: unknown): Content {
  return CONTENT[kindOf(kept)].content.parse(kept);
}

/** Every message passes here several times: the schema is asked only about a kind that is not plainly there. */
function kindOf(kept: unknown): ContentKind {
  const named = typeof kept === "object" && kept !== null && "kind" in kept ? kept.kind : DEFAULT_KIND;
  return kinds.find((kind) => kind === named) ?? keptKind.parse(kept).kind;
}

/** See `ContentType.present`; `kept` is what a row keeps. */
export function presentContent(kept: unknown): ContentFields {
  return present(parseContent(kept));
}

function present<K extends ContentKind>(content: ContentOf<K>): ContentFields {
  return CONTENT[content.kind].present(content);
}

/** The type of the timeline entry that carries each kind: a parameter of the statement that appends our messages. */
export const ENTRY_TYPES: Readonly<Record<ContentKind, EntryType>> = Object.fromEntries(
  kinds.map((kind) => [kind, CONTENT[kind].entry]),
) as Record<ContentKind, EntryType>;

/** Types of timeline entries that are messages: a parameter of the statements that read pages of them. */
export const MESSAGE_ENTRY_TYPES: readonly EntryType[] = entryTypes(({ relatesTo }) => relatesTo === "none");

/** Types of timeline entries that a person counts as unread: a parameter of the statements that count. */
export const UNREAD_ENTRY_TYPES: readonly EntryType[] = entryTypes(({ countsAsUnread }) => countsAsUnread);

function entryTypes(has: (type: (typeof CONTENT)[ContentKind]) => boolean): EntryType[] {
  return [
    ...new Set(
      Object.values(CONTENT)
        .filter(has)
        .map(({ entry }) => entry),
    ),
  ];
}
