import { formatRoomKey, type RoomAddress } from "../../shared/contract/names.ts";
import type { Role } from "../../shared/contract/roles.ts";
import type { DesiredRoom } from "../../shared/db/rooms/many/desired-room.ts";
import type { DesiredUser } from "../../shared/db/users/users.ts";

/** The room that stands at an address before the events. */
export type ExistingRoom = RoomAddress & { id: string };

/** The rooms that the events name: at their addresses, and the present ones of former addresses. */
export type KnownRooms = {
  standing: readonly ExistingRoom[];
  former: readonly { address: RoomAddress; room: ExistingRoom }[];
};

/**
 * What a person is to be in a room. Role null: the present one, or member. `isRsvp`: by the status of an attendee, which does not
 * lower every role, and does not end a ban.
 */
export type MemberWish = { is: "out" } | { is: "in"; role: Role | null; isRsvp: boolean };

/** What becomes of one room. */
export type RoomPlan = {
  /** Null for a room that is made. */
  readonly existing: ExistingRoom | null;
  /** Where it is made, or stands before the events. */
  readonly address: RoomAddress;
  slug: string;
  isEnded: boolean;
  fields: Partial<DesiredRoom>;
  /** By the user's name. */
  members: Map<string, MemberWish>;
};

/** What becomes of one person. `isEnded`: who has the name now is deleted; `isMade`: somebody is to have the name after that. */
export type UserPlan = {
  readonly name: string;
  isEnded: boolean;
  isErased: boolean;
  isMade: boolean;
  fields: Partial<DesiredUser>;
};

/** What all events of a call together change: the last of two that contradict each other counts. */
export class Plan {
  readonly #rooms = new Set<RoomPlan>();
  /** The room that stands at each address after the events so far. */
  readonly #standing = new Map<string, RoomPlan>();
  readonly #former = new Map<string, RoomPlan>();
  readonly #users = new Map<string, UserPlan>();

  constructor({ standing, former }: KnownRooms) {
    const byId = new Map<string, RoomPlan>();
    const planOf = (existing: ExistingRoom): RoomPlan => {
      const known = byId.get(existing.id);
      if (known) return known;
      const { id, kind, slug } = existing;
      const plan = this.#addRoom({ kind, slug }, { id, kind, slug });
      byId.set(id, plan);
      return plan;
    };
    for (const room of standing) planOf(room);
    for (const { address, room } of former) this.#former.set(formatRoomKey(address), planOf(room));
  }

  get rooms(): RoomPlan[] {
    return [...this.#rooms];
  }

  get users(): UserPlan[] {
    return [...this.#users.values()];
  }

  /** The room of an address, or the one that had it before. */
  findRoom(address: RoomAddress): RoomPlan | undefined {
    const key = formatRoomKey(address);
    return this.#standing.get(key) ?? this.#former.get(key);
  }

  /** The room of an address, which is made if there is none. `isNew`: one that had the address before does not count. */
  ensureRoom(address: RoomAddress, { isNew = false }: { isNew?: boolean } = {}): RoomPlan {
    const found = isNew ? this.#standing.get(formatRoomKey(address)) : this.findRoom(address);
    return found ?? this.#addRoom(address, null);
  }

  endRoom(room: RoomPlan): void {
    this.#standing.delete(formatRoomKey({ ...room.address, slug: room.slug }));
    for (const [key, former] of this.#former) if (former === room) this.#former.delete(key);
    if (room.existing) Object.assign(room, { isEnded: true, fields: {}, members: new Map() });
    else this.#rooms.delete(room);
  }

  /** Gives a room another slug, unless another room has it. */
  renameRoom(room: RoomPlan, slug: string): void {
    const to = { ...room.address, slug };
    if (this.#standing.has(formatRoomKey(to))) return;
    const from = formatRoomKey({ ...room.address, slug: room.slug });
    this.#standing.delete(from);
    this.#former.set(from, room);
    this.#former.delete(formatRoomKey(to));
    this.#standing.set(formatRoomKey(to), room);
    room.slug = slug;
  }

  user(name: string): UserPlan {
    const known = this.#users.get(name);
    if (known) return known;
    const plan: UserPlan = { name, isEnded: false, isErased: false, isMade: false, fields: {} };
    this.#users.set(name, plan);
    return plan;
  }

  #addRoom(address: RoomAddress, existing: ExistingRoom | null): RoomPlan {
    const { kind, slug } = address;
    const plan: RoomPlan = {
      ...{ existing, address: { kind, slug }, slug, isEnded: false },
      ...{ fields: {}, members: new Map() },
    };
    this.#rooms.add(plan);
    this.#standing.set(formatRoomKey(address), plan);
    return plan;
  }
}
