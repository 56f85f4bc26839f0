import type { z } from "zod";
import type { EntryType } from "../frames.ts";
import type { Permission } from "../permissions.ts";
import type { ActWord } from "../publications/messages.ts";
import type { ContentFields } from "../resources.ts";

/**
 * One kind of content, wherever it passes: a row of the outbox, an entry of the timeline, a frame. `workers/matrix/content/` holds
 * its form on Matrix.
 */
export type ContentType<Content extends z.ZodType<{ kind: string }>> = {
  /** The type of the timeline entry that carries it. */
  readonly entry: EntryType;
  /** What the outbox row and the timeline keep. */
  readonly content: Content;
  /** What a member needs in order to send it. */
  readonly permission: Permission;
  /** `message`: it changes another message. `none`: it is a message itself. */
  readonly relatesTo: "none" | "message";
  readonly countsAsUnread: boolean;
  /** The fields of a Message, and of its frames, that depend on the content. */
  present(content: z.output<Content>): ContentFields;
};

/** Checks a kind of content, and infers its types. */
export function defineContent<Content extends z.ZodType<{ kind: string }>>(
  type: ContentType<Content>,
): ContentType<Content> {
  return type;
}

/** One kind of act on a message. `shared/db/acts/` holds its effect in the tables, `workers/matrix/acts/` its form on Matrix. */
export type ActType<Content extends z.ZodType<{ kind: string }>> = {
  /** The type of the timeline entry that it makes. */
  readonly entry: EntryType;
  /** What it is called in `message.failed` and `message.requeued`. */
  readonly act: ActWord;
  /** What the outbox row keeps. */
  readonly content: Content;
  /** What a member needs for an act on a message of one's own, and on one of others. Null: nobody may. */
  readonly own: Permission | null;
  readonly any: Permission | null;
  /** It is accepted while too many messages of the room wait for Matrix. */
  readonly isUnlimited: boolean;
  /** The observer carries it out when the person is no member any more. */
  readonly survivesRemoval: boolean;
  /** What two requests under one client id must have in common. */
  identify(content: z.output<Content>): string;
};

/** Checks a kind of act, and infers its types. */
export function defineAct<Content extends z.ZodType<{ kind: string }>>(
  type: ActType<Content>,
): ActType<Content> {
  return type;
}
