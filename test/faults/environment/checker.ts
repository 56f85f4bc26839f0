import { setTimeout as sleep } from "node:timers/promises";
import type { Post } from "./acts/post.ts";
import type { Load } from "./load.ts";
import { compareStates, compareUnread } from "./judge/compare-states.ts";
import { stateOnMatrix } from "./judge/final-state.ts";
import { sentUpTo, type LoadSubscriber } from "./subscriber.ts";
import type { Environment } from "./environment.ts";

/** The field of a Matrix event that holds the message's id. */
const ID_FIELD = "org.openmeet.message";
const DETAILS_AT_MOST = 20;

export type CheckResult = {
  accepted: number;
  lost: number;
  doubled: number;
  reordered: number;
  /** Messages and acts with the status `dead`: delivered, and not on Matrix. What a deletion ended is none. */
  dead: number;
  /** Messages that are shown otherwise than the tables say: on Matrix, or by a socket; and counts of unread messages. */
  wrong: number;
  /** The first faults, in words. */
  details: string[];
};

type Row = {
  id: string;
  room: string;
  matrix_room_id: string | null;
  client_id: string;
  /** Null for one that is in no timeline. */
  number: number | null;
  status: string;
  is_act: boolean;
  is_deleted: boolean;
};

/** Waits until every socket has received every accepted message. Returns false when that takes more than `limitMs`. */
export async function waitForDelivery(load: Load, limitMs: number): Promise<boolean> {
  return waitUntil(() => isDelivered(load), limitMs);
}

/**
 * Waits until Matrix has followed: an observer has seen every message that is not dead, and every socket has received that. Returns
 * false when that takes more than `limitMs`.
 */
export async function waitForMatrix(environment: Environment, load: Load, limitMs: number): Promise<boolean> {
  return waitUntil(
    async () => (await isSeen(environment, load)) && (await isKnown(environment, load)),
    limitMs,
  );
}

async function waitUntil(isSo: () => boolean | Promise<boolean>, limitMs: number): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) return false;
    await sleep(50);
  }
  // A second delivery follows the first one soon.
  await sleep(300);
  return true;
}

function isDelivered({ posts, subscribers }: Load): boolean {
  const wanted = byRoom(posts);
  return subscribers.every((subscriber) =>
    subscriber.rooms.every((room) => {
      const received = new Set((subscriber.byRoom.get(room)?.received ?? []).map(({ id }) => id));
      return (wanted.get(room) ?? []).every((id) => received.has(id));
    }),
  );
}

async function isSeen(environment: Environment, { rooms }: Load): Promise<boolean> {
  const open = await environment.sql(
    "select 1 from messages m join rooms r on r.id = m.room_id where m.open and r.kind || ':' || r.slug = any(?) limit 1",
    [rooms],
  );
  return open.length === 0;
}

/** Whether every socket has received a `sent` that covers every message. */
async function isKnown(environment: Environment, { rooms, subscribers }: Load): Promise<boolean> {
  const rows = await environment.sql<{ room: string; number: number }>(
    `select r.kind || ':' || r.slug as room, max(e.number) as number
       from messages m join rooms r on r.id = m.room_id join timeline e on e.room_id = r.id and e.entry_id = m.id
      where r.kind || ':' || r.slug = any(?) group by 1`,
    [rooms],
  );
  return subscribers.every(({ byRoom: states }) =>
    rows.every(({ room, number }) => {
      const state = states.get(room);
      return state === undefined || sentUpTo(state) >= number;
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
 * Compares the accepted messages with Postgres, the timelines and what every socket received, and those that are not dead
 * with the homeserver: each message must be in each of them once, in the order of the numbers.
 */
export async function checkLoad(
  environment: Environment,
  load: Load,
  { isReal = false } = {},
): Promise<CheckResult> {
  const result: CheckResult = {
    ...{ accepted: 0, lost: 0, doubled: 0, reordered: 0, dead: 0, wrong: 0 },
    details: [],
  };
  const all = await environment.sql<Row>(
    `select m.id, r.kind || ':' || r.slug as room, r.matrix_room_id, m.client_id, e.number, m.status, m.target_id is not null as is_act,
            e.redacted_at is not null as is_deleted
       from messages m join rooms r on r.id = m.room_id
       left join timeline e on e.room_id = m.room_id and e.entry_id = m.id
      where r.kind || ':' || r.slug = any(?) and coalesce(m.error_code, '') not in ('target_deleted')
      order by m.room_id, e.number`,
    [load.rooms],
  );
  const rows = all.filter((row) => !row.is_act);
  const accepted = load.posts.filter(({ id }) => id !== null);
  result.accepted = accepted.length;
  result.dead = all.filter(({ status, is_deleted: isDeleted }) => status === "dead" && !isDeleted).length;
  compareWithPostgres(result, accepted, rows);
  compareActs(result, load, await findRows(environment, load));
  const noteWrong = (count: number, where: string) => {
    note(result, "wrong", count, where);
  };
  for (const room of load.rooms) {
    const wanted = rows.filter((row) => row.room === room);
    const ids = wanted.map(({ id }) => id);
    const alive = wanted.filter((row) => row.status !== "dead" && !row.is_deleted).map(({ id }) => id);
    compareAcceptance(result, room, accepted, wanted);
    const matrixRoomId = wanted[0]?.matrix_room_id;
    const onMatrix = !isReal && matrixRoomId ? stateOnMatrix(environment, matrixRoomId) : null;
    if (!isReal && matrixRoomId)
      compare(result, `homeserver ${room}`, alive, messageIdsOn(environment, matrixRoomId));
    compare(result, `timeline ${room}`, ids, await readTimeline(environment, result, room));
    for (const subscriber of load.subscribers)
      if (subscriber.rooms.includes(room)) compareSubscriber(result, subscriber, room, ids);
    await compareStates(load, room, { onMatrix, alive: new Set(alive), noteWrong });
  }
  await compareUnread(load, noteWrong);
  return result;
}

/** Ids of all rows of the outbox that some rooms have. */
async function findRows(environment: Environment, { rooms }: Load): Promise<ReadonlySet<string>> {
  const rows = await environment.sql<{ id: string }>(
    `select m.id from messages m join rooms r on r.id = m.room_id join timeline e on e.room_id = m.room_id and e.entry_id = m.id
      where r.kind || ':' || r.slug = any(?)`,
    [rooms],
  );
  return new Set(rows.map(({ id }) => id));
}

function compareActs(result: CheckResult, { acts }: Load, rows: ReadonlySet<string>): void {
  const lost = acts.filter(({ id }) => id !== null && !rows.has(id));
  note(result, "lost", lost.length, "acts that were accepted and have no entry");
}

function note(
  result: CheckResult,
  what: "lost" | "doubled" | "reordered" | "wrong",
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
  note(result, "lost", rows.filter(({ number }) => number === null).length, "accepted and without a number");
}

/** The answer to each post has the number of the message. A message accepted before another one was posted has a lower one. */
function compareAcceptance(
  result: CheckResult,
  room: string,
  accepted: readonly Post[],
  wanted: readonly Row[],
): void {
  const order = new Map(wanted.map((row) => [row.id, row.number]));
  const isWrong = ({ id, room: where, number }: Post) => where === room && order.get(id ?? "") !== number;
  note(result, "reordered", accepted.filter(isWrong).length, `numbers in answers ${room}`);
  const answered = accepted
    .flatMap(({ id, room: where, askedAtMs, acceptedAtMs }) => {
      const number = where === room && id !== null ? order.get(id) : undefined;
      return number === undefined || number === null || acceptedAtMs === null
        ? []
        : [{ number, askedAtMs, acceptedAtMs }];
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
function messageIdsOn(environment: Environment, matrixRoomId: string): string[] {
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
  note(result, "reordered", state.wrongSents, `${where}: sent that goes back or overtakes`);
}
