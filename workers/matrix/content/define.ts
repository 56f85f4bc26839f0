import type { MatrixEvent } from "../event.ts";

/** An event to be sent; the sender adds the marker and the transaction id. */
export type MatrixRequest = { type: string; content: Record<string, unknown> };

/** A person of the tenant: as an event names the person, and as our texts do. */
export type NamedPerson = { matrixUserId: string; user: string; name: string };

/** What an event is sent with: `targetEventId` is the event that it answers, null for none that is on Matrix. */
export type SentWith = {
  targetEventId: string | null;
  /** The event that began the thread. */
  threadEventId?: string | null;
  /** Who is mentioned, by their own ids. */
  people?: ReadonlyMap<string, NamedPerson>;
};

/** Whom an event may name. */
export type EventPeople = {
  find: (matrixUserId: string) => NamedPerson | undefined;
  /** Whether the sender's role allows a mention of the room. */
  mayMentionRoom: boolean;
};

/** What an event of another client holds, with the events that it answers, and whose thread it is in. */
export type ReceivedContent<Content> = {
  content: Content;
  targetEventId: string | null;
  threadEventId: string | null;
};

/** One kind of content on Matrix, in both directions. Pure: the callers resolve ids. */
export type MatrixContent<Content> = {
  /** The types of its events. */
  readonly eventTypes: readonly string[];
  toMatrix(content: Content, given: SentWith): MatrixRequest;
  /** Whether an event is one that `toMatrix` makes. */
  isOfKind(event: MatrixEvent): boolean;
  /** Null for an event that is not of this kind. */
  fromMatrix(event: MatrixEvent, people: EventPeople): ReceivedContent<Content> | null;
};
