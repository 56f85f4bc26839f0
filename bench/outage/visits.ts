import type { Http } from "../burst/http.ts";
import { openSubscriber, type Subscriber } from "../scenario/subscriber.ts";
import type { DemoStack } from "../stack.ts";
import { pause, waitFor } from "../wait.ts";
import { countMissing, readPage } from "./history.ts";
import type { Posts } from "./posts.ts";
import type { Person, Room, Talk } from "./rooms.ts";

const EVERY_MS = 30_000;
const FIRST_MS = 8_000;
const AWAY_MS = 20_000;
const LIMIT_MS = 30_000;

/** What those saw who came while Synapse was away; milliseconds until connected and subscribed, and until the page came. */
export type Visits = {
  connectMs: number[];
  pageMs: number[];
  /** Accepted messages that a page did not have. */
  missing: number;
  comeBackMs: number[];
  /** Subscriptions of sockets that came back, and how many of them had recovered. */
  returned: number;
  recovered: number;
};

export function openSocket(stack: DemoStack, { server }: Talk, { user }: Person): Promise<Subscriber> {
  return openSubscriber({
    socketUrl: stack.socketUrl,
    user,
    getToken: () => server.token(user),
    onPublication: () => undefined,
  });
}

type Visitors = {
  stack: DemoStack;
  http: Http;
  talk: Talk;
  posts: Posts;
  /** Each is away for 20 s, one after the other. */
  travellers: readonly Subscriber[];
  /** Sockets that connected during the outage are added. */
  newcomers: Subscriber[];
};

/** Every 30 s a socket connects and loads each room's page, and one that was away for 20 s comes back, until `endAtMs`. */
export async function runVisits(visitors: Visitors, endAtMs: number): Promise<Visits> {
  const visits: Visits = { connectMs: [], pageMs: [], missing: 0, comeBackMs: [], returned: 0, recovered: 0 };
  await pause(FIRST_MS);
  for (let round = 0; performance.now() + AWAY_MS < endAtMs; round++) {
    const nextAtMs = performance.now() + EVERY_MS;
    await Promise.all([visit(visitors, round, visits), travel(visitors, round, visits)]);
    await pause(Math.max(0, Math.min(nextAtMs, endAtMs) - performance.now()));
  }
  return visits;
}

async function visit({ stack, http, talk, posts, newcomers }: Visitors, round: number, visits: Visits) {
  const person = talk.people[round % talk.people.length];
  if (!person) return;
  const startedAtMs = performance.now();
  const socket = await openSocket(stack, talk, person);
  newcomers.push(socket);
  await waitForRooms(socket, talk.rooms, 0);
  visits.connectMs.push(performance.now() - startedAtMs);
  for (const room of talk.rooms) {
    const accepted = posts.accepted.filter((message) => message.room === room.key);
    const askedAtMs = performance.now();
    const { items } = await readPage(http, room, person);
    visits.pageMs.push(performance.now() - askedAtMs);
    visits.missing += countMissing(items, accepted, room.startNumber);
  }
}

async function travel({ talk, travellers }: Visitors, round: number, visits: Visits) {
  const socket = travellers[round % travellers.length];
  if (!socket) return;
  socket.leave();
  await pause(AWAY_MS);
  const before = socket.subscribed.length;
  const startedAtMs = performance.now();
  await socket.comeBack();
  await waitForRooms(socket, talk.rooms, before);
  visits.comeBackMs.push(performance.now() - startedAtMs);
  const returned = socket.subscribed.slice(before).filter(({ channel }) => isRoom(talk.rooms, channel));
  visits.returned += returned.length;
  visits.recovered += returned.filter(({ recovered }) => recovered).length;
}

function waitForRooms(socket: Subscriber, rooms: readonly Room[], from: number): Promise<void> {
  return waitFor(LIMIT_MS, "the rooms' subscriptions", () => {
    const channels = new Set(socket.subscribed.slice(from).map(({ channel }) => channel));
    return rooms.every(({ key }) => channels.has(key));
  });
}

function isRoom(rooms: readonly Room[], channel: string): boolean {
  return rooms.some(({ key }) => key === channel);
}
