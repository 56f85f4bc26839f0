import type { MatrixAccess } from "../matrix/access.ts";
import { percentile } from "../percentile.ts";
import type { DemoStack } from "../stack.ts";
import { holdsWithin, pause, waitFor } from "../wait.ts";
import { runBareLoop } from "./bare-loop.ts";
import { nowMs } from "./clock.ts";
import { openCrowd, readProgress, type Crowd } from "./crowd.ts";
import { createHttp, type Http } from "./http.ts";
import { openOtherTenant, type OtherTenant } from "./other-tenant.ts";
import { openPage, type OpenedPage } from "./page.ts";
import { startPosts, type Posts } from "./posts.ts";
import { startReceiver, type Received } from "./receiver.ts";

const MAX_CONNECTIONS = 256;
const POLL_MS = 500;
const CATCH_UP_LIMIT_MS = 3_600_000;
const DELIVERY_LIMIT_MS = 30_000;
const AFTER_END_MS = 5_000;
/** A smaller backlog says nothing about the rate of draining. */
const MIN_BACKLOG = 200;

export type BurstOptions = { people: number; sockets: number; rate: number; seconds: number };
export type Times = { p50Ms: number; p99Ms: number; maxMs: number };

export type Outcome = {
  posted: number;
  accepted: number;
  refused: Record<string, number>;
  /** Posts a second. */
  rate: number;
  answer: Times;
  /** From the post until the last of the sockets has the message with its number. */
  numbered: Times;
  /** Accepted messages that some socket lacked when the posting ended. */
  notNumberedAtEnd: number;
  lost: number;
  doubled: number;
  reordered: number;
  closed: number;
  pages: OpenedPage[];
  /** Accepted messages that were not read back from Matrix when the posting ended. */
  backlog: number;
  /** From the end of the posting until all were read back. */
  caughtUpS: number;
  /** Messages a second that Matrix took while we posted; and after that, null without a backlog. */
  ratePosting: number;
  rateDraining: number | null;
  /** From bare loops before and after. */
  ratesBare: readonly [before: number, after: number];
  /** From the other tenant's post until Matrix has the message. */
  other: Times & { messages: number };
};

export async function measureBurst(
  stack: DemoStack,
  matrix: MatrixAccess,
  options: BurstOptions,
  write: (line: string) => void,
): Promise<Outcome> {
  const http = createHttp(stack.apiUrl, MAX_CONNECTIONS);
  const other = await openOtherTenant(stack, http);
  const crowd = await openCrowd(stack, http, options.people);
  write(`${String(options.people)} people have joined on Matrix`);
  const bareBefore = await runBareLoop(matrix, crowd.people);
  write(`a bare loop of sends: ${bareBefore.toFixed(1)}/s; the posting begins`);
  const burst = await runBurst({ stack, http, crowd, other }, options, write);
  http.close();
  write(`Matrix has caught up after ${burst.caughtUpS.toFixed(0)} s; the bare loop runs again`);
  const bareAfter = await runBareLoop(matrix, crowd.people);
  return summarise(burst, [bareBefore, bareAfter], options);
}

type Parts = { stack: DemoStack; http: Http; crowd: Crowd; other: OtherTenant };
type Burst = {
  posts: Posts;
  /** The posting's end. */
  endedAtMs: number;
  received: Received;
  pages: OpenedPage[];
  backlog: number;
  caughtUpS: number;
  otherMs: number[];
};

/** From the first post until Matrix has caught up and every socket has received all. */
async function runBurst(
  { stack, http, crowd, other }: Parts,
  { sockets, rate, seconds }: BurstOptions,
  write: (line: string) => void,
): Promise<Burst> {
  const receiver = await startReceiver({
    socketUrl: stack.socketUrl,
    room: crowd.room,
    tokens: Array.from({ length: sockets }, (_, index) => crowd.tokens[index % crowd.tokens.length] ?? ""),
    messages: rate * seconds,
  });
  const readTaken = async () => (await readProgress(http, stack, crowd.path)).sentUpTo - crowd.startNumber;
  let isOver = false;
  const posts = startPosts(http, crowd, { rate, count: rate * seconds });
  const others = other.post(() => isOver);
  others.catch(() => undefined);
  await pause(seconds * 500);
  const pages = [await openPage(http, crowd, posts)];
  await posts.ended;
  const endedAtMs = nowMs();
  const backlog = posts.accepted() - (await readTaken());
  write(`posted; Matrix is ${String(backlog)} messages behind`);
  await pause(AFTER_END_MS);
  pages.push(await openPage(http, crowd, posts));
  await posts.answered;
  const hasAll = async () => (await readTaken()) >= posts.accepted();
  await waitFor(CATCH_UP_LIMIT_MS, "Matrix has caught up", hasAll, POLL_MS);
  const caughtUpS = (nowMs() - endedAtMs) / 1_000;
  isOver = true;
  const otherMs = await others;
  await holdsWithin(DELIVERY_LIMIT_MS, () => receiver.numbered() >= posts.accepted(), POLL_MS);
  return { posts, endedAtMs, received: await receiver.stop(), pages, backlog, caughtUpS, otherMs };
}

function summarise(
  burst: Burst,
  ratesBare: Outcome["ratesBare"],
  { sockets, rate, seconds }: BurstOptions,
): Outcome {
  const { posts, endedAtMs, received, pages, backlog, caughtUpS, otherMs } = burst;
  const posted = rate * seconds;
  const accepted = posts.accepted();
  const since = (times: readonly (number | null)[]) =>
    times.flatMap((atMs, index) => (atMs === null ? [] : [atMs - (posts.postedAtMs[index] ?? 0)]));
  const postingS = (endedAtMs - (posts.postedAtMs[0] ?? 0)) / 1_000;
  const numberedAtEnd = received.numberedAtMs.filter((atMs) => atMs !== null && atMs <= endedAtMs).length;
  return {
    posted,
    accepted,
    refused: Object.fromEntries(posts.refused),
    rate: posted / postingS,
    answer: timesOf(posts.answerMs),
    numbered: timesOf(since(received.numberedAtMs)),
    notNumberedAtEnd: accepted - numberedAtEnd,
    // A refused message is on no socket.
    lost: Math.max(0, received.lost - (posted - accepted) * sockets),
    doubled: received.doubled,
    reordered: received.reordered,
    closed: received.closed,
    pages,
    backlog,
    caughtUpS,
    ratePosting: (accepted - backlog) / postingS,
    rateDraining: backlog < MIN_BACKLOG ? null : backlog / caughtUpS,
    ratesBare,
    other: { ...timesOf(otherMs), messages: otherMs.length },
  };
}

function timesOf(values: readonly number[]): Times {
  const at = (share: number) => percentile(values, share) ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
