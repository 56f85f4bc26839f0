import { z } from "zod";
import { boundedText } from "../bounded-text.ts";
import { userName } from "../names.ts";
import { textFormat, type ContentFields } from "../resources/message.ts";
import type { ContentType } from "./define.ts";

/** How many people one message may mention. */
const MAX_MENTIONED = 50;

export type Mentions = ContentFields["mentions"];
export const NO_MENTIONS: Mentions = { users: [], room: false };

/** The fields of a request that make a text: of a message, and of an edit. */
export const textRequest = {
  text: boundedText(10_000),
  format: textFormat.optional().meta({ description: "plain, unless it says markdown" }),
  mentions: z
    .strictObject({
      users: z.array(userName).max(MAX_MENTIONED).optional().meta({
        description:
          "Members of the room, who stand in the text as @ and their id, or are mentioned all the same",
      }),
      room: z.boolean().optional().meta({ description: "Mentions everybody: for moderators and above" }),
    })
    .optional(),
};

/** What a caller of the API sends as a new message; the route adds its own fields, such as `clientId`. */
export const messageRequest = z.strictObject({
  ...textRequest,
  kind: z.enum(["text", "notice", "emote"]).optional().meta({ description: "text, unless it says another" }),
  replyTo: z.uuid().optional().meta({ description: "The id of a message of the room that this one answers" }),
});
export type MessageRequest = z.output<typeof messageRequest>;
export type TextRequest = Pick<MessageRequest, keyof typeof textRequest>;

/** What rows keep of a message of text. What a row lacks is empty: rows of plain text hold kind and text alone. */
const messageContent = {
  text: z.string(),
  format: textFormat.optional(),
  html: z.string().nullable().optional(),
  /** The message that it answers. */
  replyTo: z.uuid().optional(),
  /** The message that began the thread on Matrix to which it belongs. */
  thread: z.uuid().optional(),
  mentions: z.object({ users: z.array(z.string()), room: z.boolean() }).optional(),
};

/** One of the kinds of content that are texts: they differ in how clients show them. */
export function defineMessage<K extends "text" | "notice" | "emote">(kind: K) {
  const content = z.object({ kind: z.literal(kind), ...messageContent });
  return {
    entry: "message.created",
    content,
    permission: "post",
    relatesTo: "none",
    countsAsUnread: true,
    present: ({ text, format = "plain", html = null, mentions = NO_MENTIONS }) => {
      const media = null;
      return { kind, text, format, html, mentions, media };
    },
  } satisfies ContentType<typeof content>;
}

/**
 * What two requests under one client id must have in common. A plain text alone is identified by itself, as in earlier versions;
 * others begin with a character that no text has. Changing it refuses repeats of earlier requests.
 */
export function identifyMessage({
  text,
  kind = "text",
  format = "plain",
  replyTo,
  mentions,
}: MessageRequest): string {
  const users = mentions?.users ?? [];
  const room = mentions?.room ?? false;
  const isPlain =
    kind === "text" && format === "plain" && replyTo === undefined && users.length === 0 && !room;
  return isPlain ? text : `\0${JSON.stringify([kind, text, format, replyTo ?? null, users, room])}`;
}
