import { randomBytes } from "node:crypto";

/** A stored event; `ordinal` is its position among all events of the homeserver. */
export type StoredEvent = {
  ordinal: number;
  roomId: string;
  event_id: string;
  type: string;
  sender: string;
  state_key?: string;
  content: Record<string, unknown>;
  origin_server_ts: number;
  unsigned?: Record<string, unknown>;
  redacts?: string;
};

export type Room = {
  id: string;
  events: StoredEvent[];
  /** Newest state event by type and key. */
  state: Map<string, StoredEvent>;
};

/** A request to send an event, the first one or a repeated one. */
export type RecordedSend = {
  roomId: string;
  transactionId: string;
  sender: string;
  eventId: string;
  /** The transaction was used before and gave the same event. */
  isRepeat: boolean;
  atMs: number;
};

/** An answer that is not 200. */
export class Refusal extends Error {
  readonly status: number;
  readonly errcode: string;

  constructor(status: number, errcode: string, message: string) {
    super(message);
    this.status = status;
    this.errcode = errcode;
  }
}

export type NewEvent = {
  type: string;
  sender: string;
  content: Record<string, unknown>;
  stateKey?: string;
  redacts?: string;
};

/** The database of the homeserver at one moment. */
export type Backup = {
  accounts: Map<string, { displayName: string | null }>;
  rooms: Map<string, Room>;
  aliases: Map<string, string>;
  transactions: Map<string, string>;
  ordinal: number;
};

/** The state of the stand-in. It survives a restart. */
export class HomeserverState {
  readonly serverName: string;
  accounts = new Map<string, { displayName: string | null }>();
  rooms = new Map<string, Room>();
  aliases = new Map<string, string>();
  readonly sends: RecordedSend[] = [];
  /** Event ids by transaction. A homeserver keeps them a day for each device. */
  #transactions = new Map<string, string>();
  readonly #listeners = new Set<() => void>();
  #ordinal = 1_000;
  #shift = 0;

  constructor(serverName: string) {
    this.serverName = serverName;
  }

  /** The ordinal of the newest event, as clients receive it. */
  get position(): number {
    return this.#ordinal - this.#shift;
  }

  /** As after a restore from a backup: the same events with lower positions than before. */
  goBackwards(by: number): void {
    this.#shift += by;
    for (const room of this.rooms.values()) for (const event of room.events) event.ordinal -= by;
  }

  backUp(): Backup {
    const { accounts, rooms, aliases } = this;
    return structuredClone({
      accounts,
      rooms,
      aliases,
      transactions: this.#transactions,
      ordinal: this.#ordinal,
    });
  }

  /** Removes everything since the backup: events, transactions and positions. */
  restore(backup: Backup): void {
    const { accounts, rooms, aliases, transactions, ordinal } = structuredClone(backup);
    Object.assign(this, { accounts, rooms, aliases });
    this.#transactions = transactions;
    this.#ordinal = ordinal;
  }

  register(localpart: string): string {
    const userId = `@${localpart}:${this.serverName}`;
    if (this.accounts.has(userId)) throw new Refusal(400, "M_USER_IN_USE", "User ID already taken.");
    this.accounts.set(userId, { displayName: localpart });
    return userId;
  }

  setDisplayName(userId: string, displayName: string): void {
    this.requireAccount(userId).displayName = displayName;
    for (const room of this.rooms.values()) {
      if (this.membershipOf(room, userId) !== "join") continue;
      const before = room.state.get(`m.room.member ${userId}`)?.content;
      this.append(
        room.id,
        {
          type: "m.room.member",
          sender: userId,
          stateKey: userId,
          content: { membership: "join", displayname: displayName },
        },
        { prev_content: before },
      );
    }
  }

  requireAccount(userId: string): { displayName: string | null } {
    const account = this.accounts.get(userId);
    if (!account) throw new Refusal(403, "M_FORBIDDEN", "Application service has not registered this user");
    return account;
  }

  createRoom(creator: string): Room {
    const room: Room = {
      id: `!${randomBytes(12).toString("hex")}:${this.serverName}`,
      events: [],
      state: new Map(),
    };
    this.rooms.set(room.id, room);
    this.append(room.id, {
      type: "m.room.create",
      sender: creator,
      stateKey: "",
      content: { room_version: "11" },
    });
    this.append(room.id, {
      type: "m.room.member",
      sender: creator,
      stateKey: creator,
      content: { membership: "join", displayname: this.accounts.get(creator)?.displayName ?? null },
    });
    return room;
  }

  /** A room of which the user is a member. @throws the same Refusal for an unknown room and for another's room */
  requireJoined(roomId: string, userId: string): Room {
    const room = this.rooms.get(roomId);
    if (!room || this.membershipOf(room, userId) !== "join")
      throw new Refusal(403, "M_FORBIDDEN", `User ${userId} not in room ${roomId}`);
    return room;
  }

  membershipOf(room: Room, userId: string): string {
    const membership = room.state.get(`m.room.member ${userId}`)?.content["membership"];
    return typeof membership === "string" ? membership : "leave";
  }

  setMembership(
    roomId: string,
    { sender, userId, membership }: { sender: string; userId: string; membership: string },
  ): void {
    const displayname = this.accounts.get(userId)?.displayName ?? null;
    this.append(roomId, {
      type: "m.room.member",
      sender,
      stateKey: userId,
      content: { membership, displayname },
    });
  }

  /**
   * The event of a transaction. The first request makes it, with `make`; the body of a repeated one is ignored.
   * @throws Refusal of `make`
   */
  appendOnce(
    key: string,
    { roomId, transactionId, sender }: { roomId: string; transactionId: string; sender: string },
    make: () => StoredEvent,
  ): string {
    const known = this.#transactions.get(key);
    const eventId = known ?? make().event_id;
    this.#transactions.set(key, eventId);
    this.sends.push({
      roomId,
      transactionId,
      sender,
      eventId,
      isRepeat: known !== undefined,
      atMs: performance.now(),
    });
    return eventId;
  }

  append(
    roomId: string,
    { type, sender, content, stateKey, redacts }: NewEvent,
    unsigned?: Record<string, unknown>,
  ): StoredEvent {
    const room = this.rooms.get(roomId);
    if (!room) throw new Refusal(403, "M_FORBIDDEN", "no such room");
    this.#ordinal++;
    const event: StoredEvent = {
      ordinal: this.position,
      roomId,
      event_id: `$${randomBytes(32).toString("base64url")}`,
      type,
      sender,
      content,
      origin_server_ts: Date.now(),
      ...(stateKey === undefined ? {} : { state_key: stateKey }),
      ...(unsigned === undefined ? {} : { unsigned }),
      ...(redacts === undefined ? {} : { redacts }),
    };
    room.events.push(event);
    if (stateKey !== undefined) room.state.set(`${type} ${stateKey}`, event);
    for (const listener of [...this.#listeners]) listener();
    return event;
  }

  /** Calls the listener at every event. Returns how to stop that. */
  onEvent(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
