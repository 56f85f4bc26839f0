import { setTimeout as sleep } from "node:timers/promises";
import type { Load, Post } from "./load.ts";
import type { LoadSubscriber } from "./subscriber.ts";
import type { Environment } from "./environment.ts";

/** Where a message carries its id on Matrix. */
const MARKER = "org.openmeet.message";
const DETAILS_AT_MOST = 20;

export type Verdict = {
  accepted: number;
  lost: number;
  doubled: number;
  reordered: number;
  /** Given up, with a reason: neither delivered nor lost. */
  dead: number;
  /** The first of what is wrong, in words. */
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

/** Waits until every socket was told everything that was accepted, or for `limitMs`. Answers whether it was. */
export async function waitForAll(load: Load, limitMs: number): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (!isComplete(load)) {
    if (performance.now() > endMs) return false;
    await sleep(50);
  }
  // Whatever would be told twice is told soon.
  await sleep(300);
  return true;
}

function isComplete({ posts, subscribers }: Load): boolean {
  const wanted = byRoom(posts);
  return subscribers.every((subscriber) =>
    subscriber.rooms.every((room) => {
      const told = new Set([
        ...(subscriber.known.get(room)?.told ?? []).map(({ id }) => id),
        ...subscriber.failed,
      ]);
      return (wanted.get(room) ?? []).every((id) => told.has(id));
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
 * Compares what was accepted with what is in Postgres, on the homeserver, in the timelines, and what every socket was
 * told: each message everywhere, once, in the order accepted.
 */
export async function judge(environment: Environment, load: Load, { isReal = false } = {}): Promise<Verdict> {
  const verdict: Verdict = { accepted: 0, lost: 0, doubled: 0, reordered: 0, dead: 0, details: [] };
  const rows = await environment.sql<Row>(
    `select m.id, r.kind || ':' || r.slug as room, r.matrix_room_id, m.client_id, m.order_number, m.status
       from messages m join rooms r on r.id = m.room_id
      where r.kind || ':' || r.slug = any(?) order by m.room_id, m.order_number`,
    [load.rooms],
  );
  const accepted = load.posts.filter(({ id }) => id !== null);
  verdict.accepted = accepted.length;
  verdict.dead = rows.filter(({ status }) => status === "dead").length;
  compareWithPostgres(verdict, accepted, rows);
  for (const room of load.rooms) {
    const wanted = rows.filter((row) => row.room === room && row.status !== "dead");
    const ids = wanted.map(({ id }) => id);
    compareAcceptance(verdict, room, accepted, wanted);
    const matrixRoomId = wanted[0]?.matrix_room_id;
    if (!isReal && matrixRoomId)
      compare(verdict, `homeserver ${room}`, ids, textsOf(environment, matrixRoomId));
    compare(verdict, `timeline ${room}`, ids, await readTimeline(environment, verdict, room));
    for (const subscriber of load.subscribers)
      if (subscriber.rooms.includes(room)) compareEar(verdict, subscriber, room, ids);
  }
  return verdict;
}

function note(verdict: Verdict, what: "lost" | "doubled" | "reordered", count: number, where: string): void {
  if (count <= 0) return;
  verdict[what] += count;
  if (verdict.details.length < DETAILS_AT_MOST) verdict.details.push(`${String(count)} ${what}: ${where}`);
}

function compareWithPostgres(verdict: Verdict, accepted: readonly Post[], rows: readonly Row[]): void {
  const ids = new Set(rows.map(({ id }) => id));
  note(
    verdict,
    "lost",
    accepted.filter(({ id }) => !ids.has(id ?? "")).length,
    "accepted and not in Postgres",
  );
  note(
    verdict,
    "doubled",
    rows.length - new Set(rows.map((row) => row.client_id)).size,
    "rows of one client id",
  );
}

/** Who was answered before another one was asked stands before it. */
function compareAcceptance(
  verdict: Verdict,
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
  // In order of number: nobody may have been answered before somebody of a smaller number was asked.
  for (const post of answered) {
    if (post.acceptedAtMs < latestAskedMs) inversions++;
    latestAskedMs = Math.max(latestAskedMs, post.askedAtMs);
  }
  note(verdict, "reordered", inversions, `acceptance ${room}`);
}

/** What there should be against what there is, both in order. */
function compare(verdict: Verdict, where: string, wanted: readonly string[], found: readonly string[]): void {
  const places = new Map(wanted.map((id, index) => [id, index]));
  const once = [...new Set(found)];
  note(verdict, "doubled", found.length - once.length, where);
  const seen = new Set(once);
  note(verdict, "lost", wanted.filter((id) => !seen.has(id)).length, where);
  let highest = -1;
  let inversions = 0;
  for (const id of once) {
    const place = places.get(id);
    if (place === undefined) continue;
    if (place < highest) inversions++;
    highest = Math.max(highest, place);
  }
  note(verdict, "reordered", inversions, where);
}

/** Markers of the messages of a room on the stand-in, redacted ones left out. */
export function textsOf(environment: Environment, matrixRoomId: string): string[] {
  const events = environment.standIn.state.rooms.get(matrixRoomId)?.events ?? [];
  const redacted = new Set(events.map(({ redacts }) => redacts));
  return events.flatMap(({ type, content, event_id }) => {
    const marker = content[MARKER];
    return type === "m.room.message" && typeof marker === "string" && !redacted.has(event_id) ? [marker] : [];
  });
}

async function readTimeline(environment: Environment, verdict: Verdict, room: string): Promise<string[]> {
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
    verdict,
    "lost",
    holes + ((entries[0]?.last_number ?? 0) - (entries.at(-1)?.number ?? 0)),
    `numbers of ${room}`,
  );
  return entries.filter(({ type }) => type === "message.created").map((entry) => entry.entry_id);
}

function compareEar(
  verdict: Verdict,
  subscriber: LoadSubscriber,
  room: string,
  wanted: readonly string[],
): void {
  const known = subscriber.known.get(room);
  const where = `socket of ${subscriber.person} in ${room}`;
  if (!known) return;
  compare(
    verdict,
    where,
    wanted,
    known.told.map(({ id }) => id),
  );
  note(verdict, "lost", known.breaks, `${where}: offsets that do not follow each other`);
}

/** From a moment until everybody was told the first message asked after it; null when there was none. */
export function firstDeliveryMs(load: Load, sinceMs: number): number | null {
  const delivered = deliveredAt(load);
  const times = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs)
    .flatMap(({ id }) => delivered.get(id ?? "") ?? []);
  return times.length === 0 ? null : Math.min(...times) - sinceMs;
}

/** The longest that a message asked between two moments took until everybody was told. */
export function longestDeliveryMs(load: Load, sinceMs: number, untilMs: number): number {
  const delivered = deliveredAt(load);
  const waits = load.posts
    .filter(({ askedAtMs }) => askedAtMs >= sinceMs && askedAtMs < untilMs)
    .flatMap(({ id, askedAtMs }) => (delivered.get(id ?? "") ?? askedAtMs) - askedAtMs);
  return Math.max(0, ...waits);
}

/** When the last socket was told of each message. */
function deliveredAt({ subscribers }: Load): Map<string, number> {
  const times = new Map<string, number>();
  for (const subscriber of subscribers) {
    for (const { told } of subscriber.known.values()) {
      for (const { id, atMs } of told) times.set(id, Math.max(times.get(id) ?? 0, atMs));
    }
  }
  return times;
}
