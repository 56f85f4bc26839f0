import type { MessageResource } from "../../../../shared/contract/resources.ts";
import type { Environment } from "../environment.ts";
import type { StoredEvent } from "../homeserver/state.ts";

/** What everybody sees of a message at the end. */
export type Shown = { text: string; isDeleted: boolean; reactions: Record<string, number> };
export type FinalState = ReadonlyMap<string, Shown>;

/** The field of a Matrix event that holds the id of the message or act. */
const ID_FIELD = "org.openmeet.message";

export function shownOf({ text, deletedAt, reactions }: MessageResource): Shown {
  const counts = reactions.map(({ key, count }): [string, number] => [key, count]);
  return { text, isDeleted: deletedAt !== null, reactions: Object.fromEntries(counts.toSorted()) };
}

type Relation = { rel_type?: string; event_id?: string; key?: string };
const relationOf = ({ content }: StoredEvent): Relation => content["m.relates_to"] ?? {};
const isPruned = ({ content }: StoredEvent): boolean => Object.keys(content).length === 0;

/**
 * The messages of a room of the stand-in as a Matrix client shows them: the newest edit by the author counts, then the one with the
 * largest id; a person's reactions with one key count once; what was redacted is gone.
 */
export function stateOnMatrix(environment: Environment, matrixRoomId: string): FinalState {
  const events = (environment.standIn.state.rooms.get(matrixRoomId)?.events ?? []).filter(
    (event) => !isPruned(event),
  );
  const related = new Map<string, StoredEvent[]>();
  for (const event of events) {
    const target = relationOf(event).event_id;
    if (target !== undefined) related.set(target, [...(related.get(target) ?? []), event]);
  }
  const shown = new Map<string, Shown>();
  for (const event of events) {
    const id = event.content[ID_FIELD];
    if (event.type !== "m.room.message" || typeof id !== "string") continue;
    if (relationOf(event).rel_type === "m.replace") continue;
    const acts = related.get(event.event_id) ?? [];
    shown.set(id, { text: textOf(event, acts), isDeleted: false, reactions: countReactions(acts) });
  }
  return shown;
}

function textOf(message: StoredEvent, acts: readonly StoredEvent[]): string {
  const [newest] = acts
    .filter((act) => relationOf(act).rel_type === "m.replace" && act.sender === message.sender)
    .toSorted(
      (one, other) =>
        other.origin_server_ts - one.origin_server_ts || (one.event_id < other.event_id ? 1 : -1),
    );
  const content = (newest?.content["m.new_content"] ?? message.content) as { body?: string };
  return content.body ?? "";
}

function countReactions(acts: readonly StoredEvent[]): Record<string, number> {
  const people = new Set(
    acts
      .filter((act) => relationOf(act).rel_type === "m.annotation")
      .map((act) => `${relationOf(act).key ?? ""} ${act.sender}`),
  );
  const counts = new Map<string, number>();
  for (const each of [...people].toSorted()) {
    const key = each.slice(0, each.indexOf(" "));
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}

/** How many messages are not as wanted, and the first of them in words. */
export function differences(wanted: FinalState, found: FinalState): { count: number; example: string } {
  const differing = [...wanted].filter(
    ([id, shown]) => JSON.stringify(found.get(id)) !== JSON.stringify(shown),
  );
  const [id = "", shown] = differing[0] ?? [];
  const example = `${id} is ${JSON.stringify(found.get(id))} instead of ${JSON.stringify(shown)}`;
  return { count: differing.length, example };
}
