import type { NioClient, NioEvent } from "./journey/nio.ts";
import { roomPath, type Person } from "./journey/clients.ts";

/** The people of the room: ada wrote the message, mia is a moderator. */
export const PEOPLE = ["ada", "bob", "mia"] as const;
export type Who = (typeof PEOPLE)[number];

/** A message of ada, here and on Matrix. `reaction`: bob's, where the row needs one. */
export type Subject = {
  room: string;
  matrixRoomId: string;
  id: string;
  event: string;
  reaction: string | null;
};

/** What a person does to a message, by REST and by an independent Matrix client, and what everybody then has. */
export type TwoWays = {
  what: string;
  by: Who;
  /** bob has reacted before. */
  needsReaction?: true;
  rest(person: Person, subject: Subject): Promise<unknown>;
  nio(client: NioClient, subject: Subject): Promise<unknown>;
  /** What every socket receives. */
  frame(subject: Subject): Record<string, unknown>;
  /** What `GET` returns of the message. */
  shown: Record<string, unknown>;
  /** The event on Matrix after the call, and by whom. */
  onMatrix(subject: Subject): Partial<NioEvent>;
  sender: Who | "observer";
  /** The event that has lost its content then. */
  pruned?(subject: Subject): string | null;
};

const KEY = "👍";
const message = ({ room, id }: Subject, rest = "") => roomPath(room, `/messages/${id}${rest}`);
const reactionPath = (subject: Subject) => message(subject, `/reactions/${encodeURIComponent(KEY)}`);

export const TWO_WAYS: readonly TwoWays[] = [
  {
    what: "an answer",
    by: "bob",
    rest: (person, { room, id }) =>
      person.call("POST", roomPath(room, "/messages"), { body: { text: "hi", replyTo: id } }),
    nio: (client, { matrixRoomId, event }) => client.reply(matrixRoomId, event, "hi"),
    frame: ({ id }) => ({
      ...{ type: "message.created", text: "hi", sender: { user: "bob" } },
      ...{ replyTo: { id, text: "hello" }, mentions: { users: ["ada"] } },
    }),
    shown: { text: "hello", replyTo: null },
    onMatrix: ({ event }) => ({ type: "m.room.message", relation: "m.in_reply_to", target: event }),
    sender: "bob",
  },
  {
    what: "a pin by a moderator",
    by: "mia",
    rest: (person, subject) => person.call("PUT", message(subject, "/pin")),
    nio: (client, { matrixRoomId, event }) =>
      client.putState(matrixRoomId, "m.room.pinned_events", { pinned: [event] }),
    frame: ({ id }) => ({ type: "message.pinned", by: { user: "mia" }, message: id }),
    shown: { text: "hello", pinned: true },
    onMatrix: ({ event }) => ({ type: "m.room.pinned_events", content: { pinned: [event] } }),
    sender: "observer",
  },
  {
    what: "an edit by its author",
    by: "ada",
    rest: (person, subject) => person.call("PATCH", message(subject), { body: { text: "corrected" } }),
    nio: (client, { matrixRoomId, event }) => client.edit(matrixRoomId, event, "corrected"),
    frame: ({ id }) => ({
      type: "message.edited",
      by: { user: "ada" },
      message: { id, text: "corrected", sender: { user: "ada" } },
    }),
    shown: { text: "corrected", deletedAt: null },
    onMatrix: ({ event }) => ({ type: "m.room.message", relation: "m.replace", target: event }),
    sender: "ada",
  },
  {
    what: "a reaction",
    by: "bob",
    rest: (person, subject) => person.call("PUT", reactionPath(subject)),
    nio: (client, { matrixRoomId, event }) => client.react(matrixRoomId, event, KEY),
    frame: ({ id }) => ({
      ...{ type: "reaction.added", by: { user: "bob" }, message: id, key: KEY, count: 1, users: ["bob"] },
    }),
    shown: { text: "hello", reactions: [{ key: KEY, count: 1, users: ["bob"] }] },
    onMatrix: ({ event }) => ({ type: "m.reaction", relation: "m.annotation", target: event, key: KEY }),
    sender: "bob",
  },
  {
    what: "the removal of a reaction",
    by: "bob",
    needsReaction: true,
    rest: (person, subject) => person.call("DELETE", reactionPath(subject)),
    nio: (client, { matrixRoomId, reaction }) => client.redact(matrixRoomId, reaction ?? ""),
    frame: ({ id }) => ({
      ...{ type: "reaction.removed", by: { user: "bob" }, message: id, key: KEY, count: 0, users: [] },
    }),
    shown: { text: "hello", reactions: [] },
    onMatrix: ({ reaction }) => ({ type: "m.room.redaction", target: reaction }),
    sender: "bob",
    pruned: ({ reaction }) => reaction,
  },
  {
    what: "a deletion by its author",
    by: "ada",
    rest: (person, subject) => person.call("DELETE", message(subject, "?reason=typo")),
    nio: (client, { matrixRoomId, event }) => client.redact(matrixRoomId, event, "typo"),
    frame: ({ id }) => ({ type: "message.deleted", by: { user: "ada" }, message: id, reason: "typo" }),
    shown: { text: "", html: null, deletedBy: { user: "ada" }, reason: "typo" },
    onMatrix: ({ event }) => ({ type: "m.room.redaction", target: event }),
    sender: "ada",
    pruned: ({ event }) => event,
  },
  {
    what: "a deletion by a moderator",
    by: "mia",
    rest: (person, subject) => person.call("DELETE", message(subject, "?reason=spam")),
    nio: (client, { matrixRoomId, event }) => client.redact(matrixRoomId, event, "spam"),
    frame: ({ id }) => ({ type: "message.deleted", by: { user: "mia" }, message: id, reason: "spam" }),
    shown: { text: "", deletedBy: { user: "mia" }, reason: "spam" },
    onMatrix: ({ event }) => ({ type: "m.room.redaction", target: event }),
    sender: "observer",
    pruned: ({ event }) => event,
  },
];
