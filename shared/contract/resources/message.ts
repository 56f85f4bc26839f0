import { z } from "zod";
import { person } from "./person.ts";
import { time } from "./time.ts";

/** How far Matrix has followed a message, or an act on one. */
export const messageStatus = z.enum(["queued", "sending", "sent", "dead"]);
export type MessageStatus = z.infer<typeof messageStatus>;

/** Why Matrix does not have a message and never will. */
export const messageError = z.object({ code: z.string(), message: z.string() });
export type MessageError = z.infer<typeof messageError>;

const messageKind = z.enum(["text", "notice", "emote", "image", "file", "audio", "video"]);
export const textFormat = z.enum(["plain", "markdown"]);

/** The fields of a Message that its content gives; the others are the same for every kind. */
const contentFields = {
  kind: messageKind,
  text: z.string().meta({ description: "Plain text or Markdown; empty for a deleted message" }),
  format: textFormat,
  html: z
    .string()
    .nullable()
    .meta({ description: "Safe HTML of the text; null for plain text without mentions" }),
  mentions: z.object({ users: z.array(z.string()), room: z.boolean() }),
  media: z.null(),
};
export type ContentFields = z.infer<z.ZodObject<typeof contentFields>>;

/** The message that a message answers, as it is now. */
const repliedTo = z.object({
  id: z.uuid(),
  number: z.int(),
  sender: person.nullable(),
  text: z.string().meta({ description: "The first 200 characters" }),
  deleted: z.boolean(),
});

/** One key, and who reacted with it: `users` are the first of the tenant's, the oldest first. */
export const reactionCount = z.object({
  key: z.string(),
  count: z.int(),
  users: z.array(z.string()).meta({ description: "At most 20, the oldest first" }),
});
export type ReactionCount = z.infer<typeof reactionCount>;

export const messageResource = z
  .object({
    id: z.uuid(),
    room: z.string(),
    number: z.int().nullable().meta({
      description:
        "Its number in the timeline, from its acceptance on. Null for a dead message of version 0.2",
    }),
    revision: z.int().meta({
      description:
        "Number of the last entry that changed the message. An act with a number up to it is contained in it",
    }),
    clientId: z.string().nullable(),
    sender: person,
    ...contentFields,
    replyTo: repliedTo.nullable(),
    reactions: z
      .array(reactionCount)
      .meta({ description: "At most 50, the one that rose first comes first" }),
    pinned: z.boolean(),
    at: time,
    editedAt: time.nullable(),
    status: messageStatus,
    error: messageError.nullable(),
    deletedAt: time.nullable(),
    deletedBy: person.nullable(),
    reason: z.string().nullable().meta({ description: "Why it was deleted" }),
  })
  .meta({ id: "Message" });
export type MessageResource = z.infer<typeof messageResource>;

/** A message as one of the room's members reads it. */
export const readMessage = messageResource
  .extend({ myReactions: z.array(z.string()).meta({ description: "The keys of the reader" }) })
  .meta({ id: "ReadMessage" });
export type ReadMessage = z.infer<typeof readMessage>;

/** An earlier text of a message. */
export const messageVersion = z
  .object({ number: z.int(), at: time, text: z.string(), format: textFormat, html: z.string().nullable() })
  .meta({ id: "MessageVersion" });
export type MessageVersion = z.infer<typeof messageVersion>;
