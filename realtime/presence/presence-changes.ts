import type { Topic } from "../channels/topic.ts";
import type { TopicRef } from "../channels/topic-ref.ts";

/** `users`: names by row id of those who may have come or gone; null when all of the room are to be said again. */
export type RoomChange = {
  ref: TopicRef;
  members: number;
  users: Map<string, string> | null;
  /** Not before. */
  dueAtMs: number;
};

/** People of one room that are noted one by one; beyond, the room is said as a whole. */
const USERS_AT_MOST = 1_000;

/** The rooms in which people of this process may have come or gone, until that is said to Redis. */
export class PresenceChanges {
  readonly #rooms = new Map<string, RoomChange>();

  get rooms(): number {
    return this.#rooms.size;
  }

  /** Notes a user who came or went. Who is there is read when the change is said: only the last state counts. */
  note({ ref, members }: Pick<Topic, "ref" | "members">, userRef: TopicRef): void {
    const change = this.#changeOf(ref, members);
    change.users?.set(userRef.id, userNameOf(userRef));
    if (change.users && change.users.size > USERS_AT_MOST) change.users = null;
  }

  /** Notes that all of a room are to be said again. */
  noteWhole({ ref, members }: Pick<Topic, "ref" | "members">): void {
    const change = this.#changeOf(ref, members);
    change.users = null;
    change.dueAtMs = 0;
  }

  /** Notes that people of another process may have gone. */
  noteOthers({ ref, members }: Pick<Topic, "ref" | "members">): void {
    this.#changeOf(ref, members).dueAtMs = 0;
  }

  /** Takes some of the changes that are due, those noted first. */
  take(nowMs: number, atMost: number): RoomChange[] {
    const taken: RoomChange[] = [];
    for (const change of this.#rooms.values()) {
      if (taken.length === atMost) break;
      if (change.dueAtMs <= nowMs) taken.push(change);
    }
    for (const { ref } of taken) this.#rooms.delete(ref.id);
    return taken;
  }

  /** Returns a change that was taken, with what is still to be said of it, beside what was noted meanwhile. */
  putBack(change: RoomChange, dueAtMs: number): void {
    const newer = this.#rooms.get(change.ref.id);
    if (!newer) this.#rooms.set(change.ref.id, { ...change, dueAtMs });
    else {
      newer.users = newer.users && change.users && new Map([...change.users, ...newer.users]);
      newer.dueAtMs = dueAtMs;
    }
  }

  /** Drops the changes of the rooms of which `isKept` is false. */
  keep(isKept: (roomId: string) => boolean): void {
    for (const id of [...this.#rooms.keys()]) if (!isKept(id)) this.#rooms.delete(id);
  }

  #changeOf(ref: TopicRef, members: number): RoomChange {
    const known = this.#rooms.get(ref.id);
    if (known) return Object.assign(known, { ref, members });
    const change: RoomChange = { ref, members, users: new Map(), dueAtMs: 0 };
    this.#rooms.set(ref.id, change);
    return change;
  }
}

/** The tenant's own id of the user whose channel it is. */
export function userNameOf({ channel }: TopicRef): string {
  return channel.slice(channel.indexOf(":") + 1);
}
