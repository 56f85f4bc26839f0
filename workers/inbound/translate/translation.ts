import type { MatrixAct } from "../../../shared/db/acts/append-matrix-act.ts";
import type { WaitingAct } from "../../../shared/db/acts/waiting-acts.ts";
import type { MarkedMessage } from "../../../shared/db/observers/find-named.ts";
import type { BanOnMatrix } from "../../../shared/db/bans/bans.ts";
import type { PinsOnMatrix } from "../../../shared/db/pins/pinned.ts";
import type { DescriptionOnMatrix } from "../../../shared/db/rooms/matrix/described-on-matrix.ts";
import type { ConfigurationDrift } from "../../../shared/db/rooms/matrix/changed-on-matrix.ts";
import type { NewEntry } from "../../../shared/timeline/append.ts";
import type { NamedPerson } from "../../matrix/content/index.ts";
import type { MatrixEvent } from "../../matrix/event.ts";

/** What the tables and the homeserver hold of the people and messages that some events name. */
export type EventContext = {
  tenantId: string;
  /** Row ids by Matrix id. */
  userIds: ReadonlyMap<string, string>;
  observerMatrixId: string;
  /** Display names of unknown users, by `nameKey`. */
  names: ReadonlyMap<string, string>;
  /** Users of the tenant whom events may mention, by Matrix id. */
  people: ReadonlyMap<string, NamedPerson>;
  /** Who may mention everybody, of those who wish to, as `nameKey`. */
  roomMentioners: ReadonlySet<string>;
  /** Ids of the messages whose events others answer, by `eventKey`: as far as they are here. */
  answered: ReadonlyMap<string, string>;
  /** Rows of our messages and acts, by id. */
  messages: ReadonlyMap<string, MarkedMessage>;
  /** The same, by the id of the event that they have. */
  messagesByEvent: ReadonlyMap<string, MarkedMessage>;
  /** Redacted events that are here, by `eventKey`. `waiting`: an act that waits for its target. */
  redacted: ReadonlyMap<string, "here" | "waiting">;
  /** Acts that wait for events of these. */
  waiting: readonly WaitingAct[];
  /** Types of redacted state events, by event id; null where the type is not known. */
  redactedStates: ReadonlyMap<string, string | null>;
};

/**
 * What an event changes here.
 * - `own`: the event is a message or an act of ours, which has its entry already. `isPruned`: the message's content was
 *   redacted before we read it; `deletion`: by whom and why, where the event says so. `redacts`: the event that it redacts.
 * - `duplicate`: a second event of a message of ours. It is redacted and makes no entry.
 * - `message`: somebody wrote on Matrix: an entry is appended. `isForged`: the event has a marker that is not its own.
 * - `act`: somebody edited, deleted or reacted to a message on Matrix, or redacted such an act. `mayBeState`: what
 *   is redacted could not be looked up, and may be what the tenant decides.
 * - `withdrawn`: somebody redacted an act that waits for its target.
 * - `membership`: a user of the tenant is in the room on Matrix, or is not; `removal`: somebody else took the user out, or the user
 *   left; `ban`: somebody else banned the user, or ended the ban.
 * - `unknown-user`: a user whom the tenant does not know joined the room or was invited.
 * - `configuration-drift`: someone changed what the tenant decides.
 * - `description`: a person changed the room's name or topic.
 * - `pins`: a person changed which messages are pinned.
 * - `redacted-state`: someone redacted what the tenant decides; `what` has all of which it may be a part.
 * - `successor`: the room was upgraded and goes on as another one.
 */
export type Translation =
  | {
      kind: "own";
      message: MarkedMessage;
      isPruned: boolean;
      deletion: MatrixAct | null;
      redacts: string | null;
    }
  | { kind: "duplicate"; eventId: string; messageId: string }
  | { kind: "message"; entry: NewEntry; isForged: boolean }
  | { kind: "act"; act: MatrixAct; mayBeState?: boolean; isForged: boolean }
  | { kind: "withdrawn"; eventId: string }
  | { kind: "membership"; userId: string; applied: "in" }
  | {
      kind: "membership";
      userId: string;
      applied: "out";
      removal: { eventId: string; isBan: boolean } | null;
      ban?: BanOnMatrix;
    }
  | { kind: "unknown-user" }
  | { kind: "configuration-drift"; what: ConfigurationDrift["what"] }
  | { kind: "description"; change: DescriptionOnMatrix }
  | { kind: "pins"; acts: readonly MatrixAct[]; pins: PinsOnMatrix }
  | { kind: "redacted-state"; what: readonly ConfigurationDrift["what"][] }
  | { kind: "encrypted" }
  | { kind: "successor"; matrixRoomId: string }
  | { kind: "nothing" };

/** Translates one event of a room. Pure: an event that is read twice is translated to the same. */
export type Translator = (roomId: string, event: MatrixEvent, context: EventContext) => Translation;

export const NOTHING: Translation = { kind: "nothing" };

/** The key of an unknown user's name in one room. */
export function nameKey(roomId: string, matrixUserId: string): string {
  return `${roomId} ${matrixUserId}`;
}

/** The key of an event in one room. */
export function eventKey(roomId: string, eventId: string): string {
  return `${roomId} ${eventId}`;
}
