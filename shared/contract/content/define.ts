import type { z } from "zod";
import type { EntryType } from "../frames.ts";
import type { Permission } from "../permissions.ts";
import type { ContentFields } from "../resources.ts";

/**
 * One kind of content, wherever it passes: a request to the API, a row of the outbox, an entry of the timeline, a frame.
 * `workers/matrix/content/` holds its form on Matrix.
 */
export type ContentType<Request extends z.ZodObject, Content extends z.ZodType<{ kind: string }>> = {
  /** The type of the timeline entry that carries it. */
  readonly entry: EntryType;
  /** What a caller of the API sends; the route adds its own fields, such as `clientId`. */
  readonly request: Request;
  /** What the outbox row and the timeline keep. */
  readonly content: Content;
  /** What a member needs in order to send it. */
  readonly permission: Permission;
  /** `message`: it changes another message. `none`: it is a message itself. */
  readonly relatesTo: "none" | "message";
  readonly countsAsUnread: boolean;
  toContent(request: z.output<Request>): z.output<Content>;
  /** What two requests under one client id must have in common. Changing it refuses repeats of earlier requests. */
  identify(content: z.output<Content>): string;
  /** The fields of a Message, and of its frames, that depend on the content. */
  present(content: z.output<Content>): ContentFields;
};

/** Checks a kind of content, and infers its types. */
export function defineContent<Request extends z.ZodObject, Content extends z.ZodType<{ kind: string }>>(
  type: ContentType<Request, Content>,
): ContentType<Request, Content> {
  return type;
}
