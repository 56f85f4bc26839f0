import { Refusal, type HomeserverState, type StoredEvent } from "./state.ts";

const PAGE_LIMIT = 10;

/** The parts of a filter that the stand-in understands. */
export type Filter = { rooms: string[] | null; types: string[] | null; limit: number };

type RoomPart = { events?: { types?: string[]; limit?: number } } & { types?: string[]; limit?: number };

/** Reads an inline filter, of `/sync` (`room.timeline`) or of `/messages` (the object itself). */
export function readFilter(text: string | null, defaultLimit: number): Filter {
  const parsed =
    text === null
      ? {}
      : (JSON.parse(text) as { room?: { rooms?: string[]; timeline?: RoomPart } } & RoomPart);
  const part: RoomPart = parsed.room?.timeline ?? parsed;
  return { rooms: parsed.room?.rooms ?? null, types: part.types ?? null, limit: part.limit ?? defaultLimit };
}

/** A position in Synapse's format: the ordinal, then streams that the stand-in does not have. */
export function formatPosition(ordinal: number): string {
  return `s${String(ordinal)}_0_0_0_0_0_0_0_0_0`;
}

/** The ordinal of a position of `/sync` or `/messages`. @throws Refusal */
export function readPosition(text: string, refusal: string): number {
  const match = /^(?:s(\d+)_|t\d+-(\d+)_)/.exec(text);
  if (!match) throw new Refusal(400, "M_UNKNOWN", refusal);
  return Number(match[1] ?? match[2]);
}

function formatPagePosition(ordinal: number): string {
  return `t${String(ordinal)}-${String(ordinal)}_0_0_0_0_0_0_0_0_0`;
}

/** The changes for a user since a position; null when there are none. */
export function readChanges(
  state: HomeserverState,
  userId: string,
  since: number,
  filter: Filter,
): Record<string, unknown> | null {
  const join: Record<string, unknown> = {};
  const leave: Record<string, unknown> = {};
  for (const room of state.rooms.values()) {
    const newest = room.events.at(-1)?.ordinal ?? 0;
    if (newest <= since || filter.rooms?.includes(room.id) === false) continue;
    const member = room.state.get(`m.room.member ${userId}`);
    const membership = state.membershipOf(room, userId);
    if (membership === "join" && member) join[room.id] = readRoom(room.events, { since, member, filter });
    else if (member && member.ordinal > since) leave[room.id] = {};
  }
  return Object.keys(join).length + Object.keys(leave).length === 0 ? null : { join, leave };
}

/** The rooms of which the user is a member. */
export function listJoined(state: HomeserverState, userId: string): Set<string> {
  const joined = [...state.rooms.values()].filter((room) => state.membershipOf(room, userId) === "join");
  return new Set(joined.map(({ id }) => id));
}

/**
 * One page of the stream of events since a position, oldest first: the events of the named rooms, and the changes of the
 * user's own memberships in any room. Null when there are none.
 */
export function readStream(
  state: HomeserverState,
  userId: string,
  { from, rooms, limit }: { from: number; rooms: ReadonlySet<string>; limit: number },
): { chunk: unknown[]; end: number } | null {
  const isVisible = (event: StoredEvent) =>
    rooms.has(event.roomId) || (event.type === "m.room.member" && event.state_key === userId);
  const shown = [...state.rooms.values()]
    .flatMap(({ events }) => events.filter((event) => event.ordinal > from && isVisible(event)))
    .sort((one, other) => one.ordinal - other.ordinal)
    .slice(0, limit);
  const last = shown.at(-1);
  if (last === undefined) return null;
  const chunk = shown.map(({ ordinal: _, roomId, ...event }) => ({ ...event, room_id: roomId }));
  return { chunk, end: last.ordinal };
}

function readRoom(
  events: readonly StoredEvent[],
  { since, member, filter }: { since: number; member: StoredEvent; filter: Filter },
): unknown {
  // A room joined since the position comes with its history, and always as limited.
  const isNew = member.ordinal > since && member.unsigned?.["prev_content"] === undefined;
  const wanted = events.filter(
    (event) => (isNew || event.ordinal > since) && (filter.types?.includes(event.type) ?? true),
  );
  const shown = wanted.slice(-filter.limit);
  const isLimited = isNew || shown.length < wanted.length;
  const before = shown[0] ? shown[0].ordinal - 1 : since;
  return {
    timeline: { events: shown.map(present), limited: isLimited, prev_batch: formatPagePosition(before) },
    state: { events: membersOf(events, shown) },
  };
}

/** The member events of the senders, as lazy loading of members returns them each time. */
function membersOf(events: readonly StoredEvent[], shown: readonly StoredEvent[]): unknown[] {
  const senders = new Set(shown.map((event) => event.sender));
  const members = new Map<string, StoredEvent>();
  for (const event of events) {
    if (event.type === "m.room.member" && event.state_key !== undefined && senders.has(event.state_key))
      members.set(event.state_key, event);
  }
  return [...members.values()].map(present);
}

function present({ ordinal: _, roomId: __, ...event }: StoredEvent): unknown {
  return event;
}

/** One page of a room's events, oldest first: after `from`, up to `to`. */
export function readPage(
  events: readonly StoredEvent[],
  page: { from: number; to: number; filter: Filter },
): unknown {
  const limit = page.filter.limit || PAGE_LIMIT;
  const wanted = events.filter(
    (event) =>
      event.ordinal > page.from &&
      event.ordinal <= page.to &&
      (page.filter.types?.includes(event.type) ?? true),
  );
  const shown = wanted.slice(0, limit);
  const last = shown.at(-1);
  return {
    chunk: shown.map(present),
    start: formatPagePosition(page.from),
    ...(last === undefined ? {} : { end: formatPagePosition(last.ordinal) }),
    state: membersOf(events, shown),
  };
}
