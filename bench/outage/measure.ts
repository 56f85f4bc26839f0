import { createHttp, type Http } from "../burst/http.ts";
import type { MatrixAccess } from "../matrix/access.ts";
import type { DeliveryCounts } from "../scenario/checker.ts";
import type { Subscriber } from "../scenario/subscriber.ts";
import type { DemoStack } from "../stack.ts";
import { holdsWithin, pause, waitFor } from "../wait.ts";
import { countMissing, readHistory } from "./history.ts";
import { judgeSockets } from "./judge.ts";
import { compareWithMatrix } from "./on-matrix.ts";
import { startPosts, type Posted, type Posts } from "./posts.ts";
import { openTalk, type Talk } from "./rooms.ts";
import { openSocket, runVisits, type Visits } from "./visits.ts";

const TRAVELLERS = 4;
const MAX_CONNECTIONS = 16;
const DELIVERY_LIMIT_MS = 10_000;
const CATCH_UP_LIMIT_MS = 3_600_000;
const POLL_MS = 250;

export type Outcome = {
  /** Over all sockets, before Synapse returned. */
  counts: DeliveryCounts;
  /** Milliseconds from a post until it is answered, and until all sockets that stay have it. */
  answerMs: number[];
  deliveredMs: number[];
  visits: Visits;
  /** Accepted messages that the whole history did not have, before Synapse returned. */
  missingInHistory: number;
  sockets: number;
  /** From Synapse's return until Matrix had all. */
  behindS: number;
  matrix: DeliveryCounts;
};

export function isKept({ counts, visits, missingInHistory, matrix }: Outcome): boolean {
  const isWhole = (judged: DeliveryCounts) =>
    judged.delivered === judged.accepted && judged.lost + judged.doubled + judged.reordered === 0;
  const isRecovered = visits.returned > 0 && visits.recovered === visits.returned;
  return isWhole(counts) && isWhole(matrix) && isRecovered && visits.missing + missingInHistory === 0;
}

/** People talk for some minutes while Synapse is stopped; then it is continued, and Matrix read. */
export async function measureOutage(
  stack: DemoStack,
  matrix: MatrixAccess,
  minutes: number,
  write: (line: string) => void,
): Promise<Outcome> {
  const http = createHttp(stack.apiUrl, MAX_CONNECTIONS);
  const talk = await openTalk(stack);
  const staying = await Promise.all(talk.people.map((person) => openSocket(stack, talk, person)));
  const travellers = await Promise.all(
    talk.people.slice(0, TRAVELLERS).map((person) => openSocket(stack, talk, person)),
  );
  write(`${String(staying.length)} people in ${String(talk.rooms.length)} rooms; Synapse is stopped`);
  const during = await stopSynapse(stack, () => talkFor({ stack, http, talk, staying, travellers }, minutes));
  const continuedAtMs = performance.now();
  write(`Synapse is continued; ${String(during.accepted.length)} messages wait for it`);
  await waitForMatrix(talk, during.accepted);
  const behindS = (performance.now() - continuedAtMs) / 1_000;
  http.close();
  const { accepted, ...outcome } = during;
  return { ...outcome, behindS, matrix: await compareWithMatrix(matrix, talk, accepted) };
}

async function stopSynapse<T>({ pids }: DemoStack, work: () => Promise<T>): Promise<T> {
  const pid = pids["synapse"];
  if (pid === undefined) throw new Error("the stack has no Synapse of its own");
  process.kill(pid, "SIGSTOP");
  try {
    return await work();
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

type Parts = {
  stack: DemoStack;
  http: Http;
  talk: Talk;
  staying: readonly Subscriber[];
  travellers: readonly Subscriber[];
};

async function talkFor({ stack, http, talk, staying, travellers }: Parts, minutes: number) {
  const endAtMs = performance.now() + minutes * 60_000;
  const posts = startPosts(talk);
  const newcomers: Subscriber[] = [];
  const visits = await runVisits({ stack, http, talk, posts, travellers, newcomers }, endAtMs);
  await pause(Math.max(0, endAtMs - performance.now()));
  const accepted = await endPosts(posts);
  const sockets = [...staying, ...travellers, ...newcomers];
  const judge = () => judgeSockets(accepted, sockets, talk.rooms);
  await holdsWithin(DELIVERY_LIMIT_MS, () => judge().lost === 0, POLL_MS);
  let missingInHistory = 0;
  for (const room of talk.rooms) {
    const [person] = talk.people;
    const items = person === undefined ? [] : await readHistory(http, room, person);
    const inRoom = accepted.filter((message) => message.room === room.key);
    missingInHistory += countMissing(items, inRoom, room.startNumber);
  }
  const outcome = {
    accepted,
    counts: judge(),
    answerMs: accepted.map(({ askedAtMs, acceptedAtMs }) => acceptedAtMs - askedAtMs),
    deliveredMs: deliveryTimes(accepted, staying),
    visits,
    missingInHistory,
    sockets: sockets.length,
  };
  for (const socket of sockets) socket.close();
  return outcome;
}

/** In the order of their numbers. */
async function endPosts(posts: Posts): Promise<Posted[]> {
  await posts.stop();
  return [...posts.accepted].sort((a, b) => a.number - b.number);
}

function deliveryTimes(accepted: readonly Posted[], sockets: readonly Subscriber[]): number[] {
  const lastAtMs = new Map<string, number>();
  for (const { publications } of sockets)
    for (const { type, id, atMs } of publications)
      if (type === "message.created") lastAtMs.set(id, Math.max(atMs, lastAtMs.get(id) ?? 0));
  return accepted.flatMap(({ id, askedAtMs }) => {
    const atMs = lastAtMs.get(id);
    return atMs === undefined ? [] : [atMs - askedAtMs];
  });
}

async function waitForMatrix({ server, rooms }: Talk, accepted: readonly Posted[]): Promise<void> {
  for (const { key, path } of rooms) {
    const last = accepted.findLast(({ room }) => room === key)?.number ?? 0;
    const hasAll = async () => (await server.room(path)).sentUpTo >= last;
    await waitFor(CATCH_UP_LIMIT_MS, "Matrix has caught up", hasAll, POLL_MS);
  }
}
