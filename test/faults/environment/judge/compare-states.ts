import type { MessageResource } from "../../../../shared/contract/resources.ts";
import { differences, shownOf, type FinalState } from "./final-state.ts";
import type { Load } from "../load.ts";

/** So many are wrong, and where. */
type NoteWrong = (count: number, where: string) => void;

type Pages = { items: (MessageResource & { number: number })[]; hasMore: boolean };

/** All messages of a room as one of its members reads them. */
async function readMessages({ members, read }: Load, room: string): Promise<Pages["items"]> {
  const [person = ""] = members.get(room) ?? [];
  const items: Pages["items"] = [];
  for (let after = 0; ; after = items.at(-1)?.number ?? after) {
    const path = `/v1/rooms/${room.replace(":", "/")}/messages?after=${String(after)}&limit=100`;
    const page = (await read(person, path)) as Pages | null;
    if (page === null) throw new Error(`${room} could not be read`);
    items.push(...page.items);
    if (!page.hasMore) return items;
  }
}

/** What the tables say of each message is what Matrix shows, and what each socket ends with. */
export async function compareStates(
  load: Load,
  room: string,
  {
    onMatrix,
    alive,
    noteWrong,
  }: { onMatrix: FinalState | null; alive: ReadonlySet<string>; noteWrong: NoteWrong },
): Promise<void> {
  const items = await readMessages(load, room);
  const wanted: FinalState = new Map(items.map((item) => [item.id, shownOf(item)]));
  const compareWith = (where: string, expected: FinalState, found: FinalState) => {
    const { count, example } = differences(expected, found);
    noteWrong(count, `${where}: ${example}`);
  };
  if (onMatrix) {
    compareWith(`homeserver ${room}`, new Map([...wanted].filter(([id]) => alive.has(id))), onMatrix);
    const deleted = [...wanted].filter(([id, shown]) => shown.isDeleted && onMatrix.has(id));
    noteWrong(deleted.length, `homeserver ${room}: deleted messages that are still there`);
  }
  for (const { person, byRoom: states } of load.subscribers) {
    const view = states.get(room)?.view;
    if (!view) continue;
    const found = new Map([...view.messages].map(([id, message]) => [id, shownOf(message)]));
    compareWith(`what the socket of ${person} shows of ${room}`, wanted, found);
  }
}

/** Nobody reads: unread is what others wrote after one's own last message, without what was deleted. */
export async function compareUnread(load: Load, noteWrong: NoteWrong): Promise<void> {
  for (const room of load.rooms) {
    const items = await readMessages(load, room);
    for (const person of load.members.get(room) ?? []) {
      const last = Math.max(
        0,
        ...items.filter(({ sender }) => sender.user === person).map(({ number }) => number),
      );
      const wanted = items.filter(
        ({ number, sender, deletedAt }) => number > last && sender.user !== person && deletedAt === null,
      ).length;
      const mine = (await load.read(person, "/v1/me/rooms?limit=100")) as {
        items: { room: string; unread: number }[];
      } | null;
      const found = mine?.items.find((item) => item.room === room)?.unread;
      if (found !== wanted)
        noteWrong(1, `unread of ${person} in ${room} is ${String(found)} instead of ${String(wanted)}`);
    }
  }
}
