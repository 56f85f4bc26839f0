import { firstCharacters } from "./first-characters.ts";
import type { Publication } from "./frames.ts";
import type { MessageResource, ReactionCount } from "./resources.ts";

/**
 * What a client holds of a room: messages by id, and the number of the last entry that it received. The functions below are pure,
 * and take what the server sends in any order with pages: they end in the same state.
 *
 * All values of an entry are absolute, and a message names with its `revision` the last entry that changed it: what has a number up
 * to that is contained in it already.
 */
export type RoomView = {
  readonly messages: ReadonlyMap<string, MessageResource>;
  readonly lastNumber: number;
};

export const EMPTY_VIEW: RoomView = { messages: new Map(), lastNumber: 0 };

/** Adds a page: a message replaces the one that is held, unless that is newer. */
export function mergePage(view: RoomView, items: readonly MessageResource[]): RoomView {
  const messages = new Map(view.messages);
  for (const item of items) put(messages, item);
  return { ...view, messages };
}

/** Applies one publication of the room. What is no entry of its timeline, or of a type that is not known here, changes nothing. */
export function reduce(view: RoomView, event: Publication): RoomView {
  if (!("number" in event) || event.number === null || UNNUMBERED.has(event.type)) return view;
  const lastNumber = Math.max(view.lastNumber, event.number);
  const messages = new Map(view.messages);
  apply(messages, event);
  return { messages, lastNumber };
}

/** These name a number of another entry. */
const UNNUMBERED: ReadonlySet<Publication["type"]> = new Set(["sent", "receipt", "mention"]);

type Messages = Map<string, MessageResource>;

function apply(messages: Messages, event: Publication): void {
  switch (event.type) {
    case "message.created":
      put(messages, withoutType(event));
      return;
    case "message.edited":
      edit(messages, event);
      return;
    case "message.deleted":
      remove(messages, event);
      return;
    case "reaction.added":
    case "reaction.removed":
      change(messages, event, (held) => ({ reactions: countReaction(held.reactions, event) }));
      return;
    case "message.pinned":
    case "message.unpinned":
      change(messages, event, () => ({ pinned: event.type === "message.pinned" }));
      return;
    case "message.failed":
      if (event.act === "message") change(messages, event, () => ({ status: "dead", error: event.error }));
      return;
    case "message.requeued":
      if (event.act === "message") change(messages, event, () => ({ status: "queued", error: null }));
      return;
    default:
  }
}

type EventOf<T extends Publication["type"]> = Extract<Publication, { type: T }>;

function withoutType({ type, ...message }: EventOf<"message.created">): MessageResource {
  void type;
  return message;
}

function put(messages: Messages, message: MessageResource): void {
  const held = messages.get(message.id);
  if (!held || held.revision <= message.revision) messages.set(message.id, message);
}

/** Changes a message that is held, unless what is held contains the entry. */
function change(
  messages: Messages,
  event: { message: string; number: number },
  fieldsOf: (held: MessageResource) => Partial<MessageResource>,
): void {
  const held = messages.get(event.message);
  if (!held || event.number <= held.revision) return;
  messages.set(held.id, { ...held, ...fieldsOf(held), revision: event.number });
}

function edit(messages: Messages, { message, number }: EventOf<"message.edited">): void {
  const held = messages.get(message.id);
  if (held && number <= held.revision) return;
  if (held) messages.set(message.id, { ...message, revision: Math.max(number, message.revision) });
  quote(messages, message.id, { text: firstCharacters(message.text), deleted: false });
}

function remove(messages: Messages, event: EventOf<"message.deleted">): void {
  const { message: id, at, by, reason, stub } = event;
  if (stub) put(messages, stub);
  else
    change(messages, event, () => ({
      ...{
        text: "",
        format: "plain",
        html: null,
        mentions: { users: [], room: false },
        media: null,
        reactions: [],
      },
      ...{ replyTo: null, pinned: false, editedAt: null, deletedAt: at, deletedBy: by, reason },
    }));
  quote(messages, id, { text: "", deleted: true });
}

/** Changes what the answers to a message show of it. What is deleted stays so. */
function quote(messages: Messages, id: string, shown: { text: string; deleted: boolean }): void {
  for (const message of messages.values()) {
    const { replyTo } = message;
    if (replyTo?.id !== id || replyTo.deleted) continue;
    messages.set(message.id, { ...message, replyTo: { ...replyTo, ...shown } });
  }
}

function countReaction(
  reactions: readonly ReactionCount[],
  { key, count, users }: ReactionCount,
): ReactionCount[] {
  if (count === 0) return reactions.filter((held) => held.key !== key);
  const counted = { key, count, users };
  return reactions.some((held) => held.key === key)
    ? reactions.map((held) => (held.key === key ? counted : held))
    : [...reactions, counted];
}
