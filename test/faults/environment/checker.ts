import { setTimeout as sleep } from "node:timers/promises";
import type { Load, Post } from "./load.ts";
import type { LoadSubscriber } from "./subscriber.ts";
import type { Environment } from "./environment.ts";

/** The field of a Matrix event that holds the message's id. */
const ID_FIELD = "org.openmeet.message";
const DETAILS_AT_MOST = 20;

export type CheckResult = {
  accepted: number;
  lost: number;
  doubled: number;
  reordered: number;
  /** Messages with the status `dead`: neither delivered nor lost. */
  dead: number;
  /** The first faults, in words. */
  details: string[];
};

type Row = {
  id: string;
  room: string;
  matrix_room_id: string | null;
  client_id: string;
  order_number: number;
  status: string;
};

/** Waits until every socket has received every accepted message. Returns false when that takes more than `limitMs`. */
export async function waitForDelivery(load: Load, limitMs: number): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (!isComplete(load)) {
    if (performance.now() > endMs) return false;
    await sleep(50);
  }
  // A second delivery follows the first one soon.
  await sleep(300);
  return true;
}

function isComplete({ posts, subscribers }: Load): boolean {
  const wanted = byRoom(posts);
  return subscribers.every((subscriber) =>
    subscriber.rooms.every((room) => {
      const received = new Set([
        ...(subscriber.byRoom.get(room)?.received ?? []).map(({ id }) => id),
        ...subscriber.failed,
      ]);
      return (wanted.get(room) ?? []).every((id) => received.has(id));
    }),
  );
}

function byRoom(posts: readonly Post[]): Map<string, string[]> {
  const rooms = new Map<string, string[]>();
  for (const { room, id } of posts) {
    if (id === null) continue;
    const list = rooms.get(room);
    if (list) list.push(id);
    else rooms.set(room, [id]);
  }
  return rooms;
}

/**
 * Compares the accepted messages with Postgres, the homeserver, the timelines and what every socket received: each message
 * must be in each of them once, in the order accepted.
 */
export async function checkLoad(
  environment: Environment,
  load: Load,
  { isReal = false } = {},
): Promise<CheckResult> {
  const result: CheckResult = { accepted: 0, lost: 0, doubled: 0, reordered: 0, dead: 0, details: [] };
  const rows = await environment.sql<Row>(
    `select m.id, r.kind || ':' || r.slug as room, r.matrix_room_id, m.client_id, m.order_number, m.status
       from messages m join rooms r on r.id = m.room_id
      where r.kind || ':' || r.slug = any(?) order by m.room_id, m.order_number`,
    [load.rooms],
  );
  const accepted = load.posts.filter(({ id }) => id !== null);
  result.accepted = accepted.length;
  result.dead = rows.filter(({ status }) => status === "dead").length;
  compareWithPostgres(result, accepted, rows);
  for (const room of load.rooms) {
    const wanted = rows.filter((row) => row.room === room && row.status !== "dead");
    const ids = wanted.map(({ id }) => id);
    compareAcceptance(result, room, accepted, wanted);
    const matrixRoomId = wanted[0]?.matrix_room_id;
    if (!isReal && matrixRoomId)
      compare(result, `homeserver ${room}`, ids, messageIdsOn(environment, matrixRoomId));
    compare(result, `timeline ${room}`, ids, await readTimeline(environment, result, room));
    for (const subscriber of load.subscribers)
      if (subscriber.rooms.includes(room)) compareSubscriber(result, subscriber, room, ids);
  }
  return result;
}

function note(
  result: CheckResult,
  what: "lost" | "doubled" | "reordered",
  count: number,
  where: string,
): void {
  if (count <= 0) return;
  result[what] += count;
  if (result.details.length < DETAILS_AT_MOST) result.details.push(`${String(count)} ${what}: ${where}`);
}

function compareWithPostgres(result: CheckResult, accepted: readonly Post[], rows: readonly Row[]): void {
  const ids = new Set(rows.map(({ id }) => id));
  note(
    result,
    "lost",
    accepted.filter(({ id }) => !ids.has(id ?? "")).length,
    "accepted and not in Postgres",
  );
  note(
    result,
    "doubled",
    rows.length - new Set(rows.map((row) => row.client_id)).size,
    "rows of one client id",
  );
}

/** A message accepted before another one was posted has a lower number. */
function compareAcceptance(
  result: CheckResult,
  room: string,
  accepted: readonly Post[],
  wanted: readonly Row[],
): void {
  const order = new Map(wanted.map((row) => [row.id, row.order_number]));
  const answered = accepted
    .flatMap(({ id, room: where, askedAtMs, acceptedAtMs }) => {
      const number = where === room && id !== null ? order.get(id) : undefined;
      return number === undefined || acceptedAtMs === null ? [] : [{ number, askedAtMs, acceptedAtMs }];
    })
    .sort((a, b) => a.number - b.number);
  let latestAskedMs = -Infinity;
  let inversions = 0;
  // In order of number: no message may have been accepted before one with a lower number was posted.
  for (const post of answered) {
    if (post.acceptedAtMs < latestAskedMs) inversions++;
    latestAskedMs = Math.max(latestAskedMs, post.askedAtMs);
  }
  note(result, "reordered", inversions, `acceptance ${room}`);
}

/** Compares the expected ids with the found ids, both in order. */
function compare(
  result: CheckResult,
  where: string,
  wanted: readonly string[],
  found: readonly string[],
): void {
  const places = new Map(wanted.map((id, index) => [id, index]));
  const once = [...new Set(found)];
  note(result, "doubled", found.length - once.length, where);
  const seen = new Set(once);
  note(result, "lost", wanted.filter((id) => !seen.has(id)).length, where);
  let highest = -1;
  let inversions = 0;
  for (const id of once) {
    const place = places.get(id);
    if (place === undefined) continue;
    if (place < highest) inversions++;
    highest = Math.max(highest, place);
  }
  note(result, "reordered", inversions, where);
}

/** Ids of the messages of a room on the stand-in, in order, without redacted ones. */
export function messageIdsOn(environment: Environment, matrixRoomId: string): string[] {
  const events = environment.standIn.state.rooms.get(matrixRoomId)?.events ?? [];
  const redacted = new Set(events.map(({ redacts }) => redacts));
  return events.flatMap(({ type, content, event_id }) => {
    const messageId = content[ID_FIELD];
    return type === "m.room.message" && typeof messageId === "string" && !redacted.has(event_id)
      ? [messageId]
      : [];
  });
}

async function readTimeline(environment: Environment, result: CheckResult, room: string): Promise<string[]> {
  const entries = await environment.sql<{
    number: number;
    entry_id: string;
    type: string;
    last_number: number;
  }>(
    `select e.number, e.entry_id, e.type, t.last_number from timeline e join rooms r on r.id = e.room_id
       join room_timeline t on t.room_id = r.id where r.kind || ':' || r.slug = ? order by e.number`,
    [room],
  );
  const holes = entries.filter(({ number }, index) => number !== index + 1).length;
  note(
    result,
    "lost",
    holes + ((entries[0]?.last_number ?? 0) - (entries.at(-1)?.number ?? 0)),
    `numbers of ${room}`,
  );
  return entries.filter(({ type }) => type === "message.created").map((entry) => entry.entry_id);
}

function compareSubscriber(
  result: CheckResult,
  subscriber: LoadSubscriber,
  room: string,
  wanted: readonly string[],
): void {
  const state = subscriber.byRoom.get(room);
  const where = `socket of ${subscriber.person} in ${room}`;
  if (!state) return;
  compare(
    result,
    where,
    wanted,
    state.received.map(({ id }) => id),
  );
  note(result, "lost", state.breaks, `${where}: offsets that do not follow each other`);
}

/** From a moment until every socket has received the first message posted after it; null when there is none. */
export function firstDeliveryMs(load: Load, sinceMs: number): number | null {
  const delivered = deliveredAt(load);
  const times = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs)
    .flatMap(({ id }) => delivered.get(id ?? "") ?? []);
  return times.length === 0 ? null : Math.min(...times) - sinceMs;
}

/** The longest time that a message posted between two moments took to reach every socket. */
export function longestDeliveryMs(load: Load, sinceMs: number, untilMs: number): number {
  const delivered = deliveredAt(load);
  const waits = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs && askedAtMs < untilMs)
    .flatMap(({ id, askedAtMs }) => (delivered.get(id ?? "") ?? askedAtMs) - askedAtMs);
  return Math.max(0, ...waits);
}

/** When the last socket received each message. */
function deliveredAt({ subscribers }: Load): Map<string, number> {
  const times = new Map<string, number>();
  for (const subscriber of subscribers) {
    for (const { received } of subscriber.byRoom.values()) {
      for (const { id, atMs } of received) times.set(id, Math.max(times.get(id) ?? 0, atMs));
    }
  }
  return times;
}
