import type { ActContent, ActKind } from "../../../shared/contract/content/acts.ts";
import type { Db } from "../../../shared/db/connection/open.ts";
import type { ClaimedMessage } from "../../../shared/db/messages/outbox.ts";
import { findEdits, findReactions, type RelatedEvent } from "../../../shared/db/acts/related-events.ts";
import { listPinnedEvents } from "../../../shared/db/pins/pinned.ts";
import type { ActCall } from "../../matrix/acts/define.ts";
import { needsPins, needsTarget, relatedOf, toCalls } from "../../matrix/acts/index.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";
import type { People } from "./mentioned-people.ts";
import { NotSendable } from "./not-sendable.ts";
import { SendFailed } from "./send-failed.ts";

/** The events of what a drain has sent, by the ids of the messages: their rows are marked later. */
export type SentEvents = ReadonlyMap<string, string>;

/** What an act asks of Matrix: nothing where `calls` is empty. `targetEventId`: see `findTarget`. */
export type PlannedAct = { calls: readonly ActCall[]; targetEventId: string | null };

/** Plans an act. @throws as `findTarget` */
export async function planAct(
  db: Db,
  roomId: string,
  given: { act: ActContent; message: ClaimedMessage; sentEvents: SentEvents; people: People },
): Promise<PlannedAct> {
  const { act, message, sentEvents, people } = given;
  const targetEventId = findTarget(act.kind, message, sentEvents);
  const related = await findRelated(db, roomId, { kind: act.kind, message, sentEvents });
  const formerMentions = message.refers_to?.former_mentions ?? null;
  const pins = needsPins(act) ? eventsOf(await listPinnedEvents(db, roomId), sentEvents) : [];
  return { calls: toCalls(act, { targetEventId, related, pins, people, formerMentions }), targetEventId };
}

function eventsOf(rows: readonly RelatedEvent[], sentEvents: SentEvents): string[] {
  return rows.flatMap(({ id, event_id: eventId }) => sentEvents.get(id ?? "") ?? eventId ?? []);
}

async function findRelated(
  db: Db,
  roomId: string,
  { kind, message, sentEvents }: { kind: ActKind; message: ClaimedMessage; sentEvents: SentEvents },
): Promise<string[]> {
  switch (relatedOf(kind)) {
    case "edits":
      return eventsOf(await findEdits(db, roomId, message.target_id ?? ""), sentEvents);
    case "reactions":
      // In an order that does not depend on which of them are marked: the first one has the act's transaction id.
      return [...new Set(eventsOf(await findReactions(db, message.id), sentEvents))].sort();
    case null:
      return [];
  }
}

/**
 * The event of the message that an act is about; null where there is none on Matrix, which only an act accepts that ends what is
 * there.
 * @throws NotSendable when the message is deleted or dead; SendFailed when it is still to be sent
 */
function findTarget(
  kind: ActKind,
  { target_id: targetId, refers_to: target }: Pick<ClaimedMessage, "target_id" | "refers_to">,
  sentEvents: SentEvents,
): string | null {
  const eventId = sentEvents.get(targetId ?? "") ?? target?.event_id ?? null;
  const needsIt = needsTarget(kind);
  if (needsIt && (target === null || target.is_deleted)) throw new NotSendable("target_deleted");
  if (needsIt && target?.status === "dead") throw new NotSendable("target_dead");
  if (eventId !== null) return eventId;
  // It stands before the act in the room's order, so that this is a message which was queued again meanwhile.
  const isOnItsWay = target?.status === "queued" || target?.status === "sending";
  if (isOnItsWay)
    throw new SendFailed("send", new MatrixFailure("transient", { errcode: NOT_SENT, httpStatus: null }));
  if (needsIt) throw new NotSendable("target_dead");
  return null;
}

const NOT_SENT = "the message of the act is not sent";

/** The event that a message answers, null for one that people on Matrix do not see; and the event that began the thread. */
export type Answered = { targetEventId: string | null; threadEventId: string | null };

export function findAnswered(
  { refers_to: replied, content }: Pick<ClaimedMessage, "refers_to" | "content">,
  sentEvents: SentEvents,
): Answered {
  if (replied === null || replied.is_deleted || replied.status === "dead")
    return { targetEventId: null, threadEventId: null };
  const { thread } = content;
  const threadEventId =
    (typeof thread === "string" ? sentEvents.get(thread) : undefined) ?? replied.thread_event_id;
  return { targetEventId: sentEvents.get(replied.id) ?? replied.event_id, threadEventId };
}
