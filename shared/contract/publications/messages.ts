import { z } from "zod";
import { messageError, messageResource } from "../resources/message.ts";
import { person } from "../resources/person.ts";

/** An entry about a message; `message` is that message's id. */
const aboutMessage = { room: z.string(), number: z.int(), at: z.string(), message: z.uuid() };
const reaction = { ...aboutMessage, by: person, key: z.string(), count: z.int(), users: z.array(z.string()) };

/** What Matrix refused, or gets again: the message itself, or an act on it. */
export const actWord = z.enum(["message", "edit", "deletion", "reaction", "pin"]);
export type ActWord = z.infer<typeof actWord>;

/** Entries of a room's timeline that are messages or about messages. */
export const messagePublications = [
  z.object({ type: z.literal("message.created"), ...messageResource.shape }),
  z.object({
    type: z.literal("message.edited"),
    room: z.string(),
    number: z.int(),
    at: z.string(),
    by: person,
    // As it is now: its revision may be above the entry's number.
    message: messageResource,
  }),
  z.object({
    type: z.literal("message.deleted"),
    ...aboutMessage,
    by: person,
    reason: z.string().nullable(),
    // Under the number of a message that is deleted by now: the message without its text.
    stub: messageResource.optional(),
  }),
  z.object({ type: z.literal("reaction.added"), ...reaction }),
  z.object({ type: z.literal("reaction.removed"), ...reaction }),
  z.object({ type: z.literal("message.pinned"), ...aboutMessage, by: person }),
  z.object({ type: z.literal("message.unpinned"), ...aboutMessage, by: person }),
  z.object({ type: z.literal("message.failed"), ...aboutMessage, act: actWord, error: messageError }),
  z.object({ type: z.literal("message.requeued"), ...aboutMessage, act: actWord, error: z.null() }),
] as const;
