import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { chooseAct, POSTS_PER_ACT, type Act, type ActRequest } from "./acts/choose-act.ts";
import type { Post } from "./acts/post.ts";
import { LoadSubscriber } from "./subscriber.ts";
import type { Environment } from "./environment.ts";
import type { Random } from "./random.ts";

const ANSWER_LIMIT_MS = 10_000;
const PAUSE_MS = 300;
const POST_LIMIT_MS = 180_000;

/** People who post in rooms, and their sockets. */
export type Load = {
  rooms: string[];
  people: string[];
  members: Map<string, string[]>;
  posts: Post[];
  /** What people did to earlier messages. */
  acts: Act[];
  subscribers: LoadSubscriber[];
  /** Posts a message and repeats the request until it is accepted. */
  post: (room: string, person: string, text?: string) => Promise<Post>;
  /** One request. Status 0: no answer. */
  postOnce: (
    room: string,
    person: string,
    text: string,
    clientId: string,
  ) => Promise<{ status: number; ms: number; id: string | null; number: number | null }>;
  /** Carries an act out and repeats the request until it is accepted. */
  act: (room: string, person: string, what: string, request: ActRequest) => Promise<void>;
  /** What a person reads by a path; null while there is no answer. */
  read: (person: string, path: string) => Promise<unknown>;
  /** Opens one more socket for a person. */
  subscribe: (person: string) => Promise<LoadSubscriber>;
  /** Posts at a steady rate, and acts on earlier messages where the plan says so, until `stop`, which resolves when all of it is accepted. */
  startTraffic: (
    perSecond: number,
    random: Random,
    rooms?: readonly string[],
  ) => { stop: () => Promise<void> };
  /** Closes the sockets. */
  close: () => void;
};

/** `acts`: people also edit, delete and react to earlier messages. */
export type LoadPlan = { name: string; rooms: number; people: number; subscribers?: number; acts?: boolean };

/** Makes people, rooms and sockets. Each person is in every second room and has one socket unless the plan differs. */
export async function openLoad(environment: Environment, plan: LoadPlan): Promise<Load> {
  const people = Array.from({ length: plan.people }, (_, index) => `${plan.name}-p${String(index)}`);
  const rooms = Array.from({ length: plan.rooms }, (_, index) => `group:${plan.name}-r${String(index)}`);
  const members = new Map(
    rooms.map((room, index) => [
      room,
      people.filter((_, at) => people.length < 3 || (index + at) % 2 === 0 || at === index % people.length),
    ]),
  );
  for (const [room, inside] of members) await makeRoom(environment, room, inside);
  const tokens = new Map<string, string>();
  for (const person of people) tokens.set(person, await makeToken(environment, person));
  const tokenOf = (person: string) => tokens.get(person) ?? "";
  const sender = createSender(environment, { name: plan.name, tokenOf });
  const subscribers: LoadSubscriber[] = [];
  const subscribe = async (person: string) => {
    const inside = rooms.filter((room) => members.get(room)?.includes(person));
    const subscriber = new LoadSubscriber(environment, {
      person,
      token: () => tokenOf(person),
      rooms: inside,
      read: (path) => request(environment, tokenOf(person), { method: "GET", path }),
    });
    subscribers.push(subscriber);
    await subscriber.open();
    return subscriber;
  };
  await Promise.all(
    people.flatMap((person) => Array.from({ length: plan.subscribers ?? 1 }, () => subscribe(person))),
  );
  return {
    rooms,
    people,
    members,
    subscribers,
    ...sender,
    read: async (person, path) => {
      const { status, body } = await request(environment, tokenOf(person), { method: "GET", path });
      return status === 200 ? body : null;
    },
    subscribe,
    startTraffic: (perSecond, random, among = rooms) =>
      startTraffic(
        { ...sender, members },
        { perSecond, random, among, name: plan.name, acts: plan.acts ?? false },
      ),
    close: () => {
      for (const subscriber of subscribers) subscriber.close();
    },
  };
}

async function makeRoom(environment: Environment, room: string, people: readonly string[]): Promise<void> {
  const answer = await request(environment, environment.tenant.serverKey, {
    method: "PUT",
    path: `/v1/rooms/${room.replace(":", "/")}`,
    body: { name: room, members: people.map((user) => ({ user, role: "member" })) },
  });
  if (answer.status >= 300) throw new Error(`a room was not created: status ${String(answer.status)}`);
}

/** Posts for the people and keeps what they posted. */
function createSender(
  environment: Environment,
  { name, tokenOf }: { name: string; tokenOf: (person: string) => string },
): Pick<Load, "posts" | "acts" | "post" | "postOnce" | "act"> {
  const posts: Post[] = [];
  const acts: Act[] = [];
  let count = 0;
  const postOnce: Load["postOnce"] = async (room, person, text, clientId) => {
    const startMs = performance.now();
    const path = `/v1/rooms/${room.replace(":", "/")}/messages`;
    const answer = await request(environment, tokenOf(person), {
      method: "POST",
      path,
      body: { text, clientId },
    });
    const isAccepted = answer.status >= 200 && answer.status < 300;
    const { id, number } = isAccepted
      ? (answer.body as { id: string; number: number })
      : { id: null, number: null };
    return { status: answer.status, ms: performance.now() - startMs, id, number };
  };
  const post: Load["post"] = async (room, person, text) => {
    const clientId = `${name}-${String(++count)}`;
    const posted: Post = {
      clientId,
      room,
      person,
      askedAtMs: performance.now(),
      id: null,
      number: null,
      acceptedAtMs: null,
      firstAnswerMs: null,
      firstStatus: null,
    };
    posts.push(posted);
    while (performance.now() < posted.askedAtMs + POST_LIMIT_MS) {
      const { status, ms, id, number } = await postOnce(room, person, text ?? clientId, clientId);
      posted.firstAnswerMs ??= ms;
      posted.firstStatus ??= status;
      if (id !== null) {
        posted.id = id;
        posted.number = number;
        posted.acceptedAtMs = performance.now();
        return posted;
      }
      if (status !== 0 && status < 500 && status !== 429)
        throw new Error(`a message was refused with status ${String(status)}`);
      await sleep(PAUSE_MS);
    }
    return posted;
  };
  const act: Load["act"] = async (room, person, what, asked) => {
    const done: Act = { room, what, isAccepted: false, id: null };
    acts.push(done);
    const endMs = performance.now() + POST_LIMIT_MS;
    while (performance.now() < endMs) {
      const { status, body } = await request(environment, tokenOf(person), asked);
      const isDecided = status !== 0 && status < 500 && status !== 429;
      // Somebody may have deleted the message meanwhile.
      if (isDecided && status !== 409 && status >= 300)
        throw new Error(`an act (${what}) was refused with status ${String(status)}`);
      if (isDecided) {
        done.isAccepted = status < 300;
        done.id = status === 202 ? ((body as { act: { id: string } | null }).act?.id ?? null) : null;
        return;
      }
      await sleep(PAUSE_MS);
    }
  };
  return { posts, acts, post, postOnce, act };
}

/** An open loop: a slow post does not delay the next one. */
function startTraffic(
  { post, act, posts, members }: Pick<Load, "post" | "act" | "posts" | "members">,
  {
    perSecond,
    random,
    among,
    name,
    acts,
  }: { perSecond: number; random: Random; among: readonly string[]; name: string; acts: boolean },
): { stop: () => Promise<void> } {
  const pending = new Set<Promise<unknown>>();
  const failures: unknown[] = [];
  const startMs = performance.now();
  let started = 0;
  const follow = (work: Promise<unknown>) => {
    const following = work
      .catch((error: unknown) => failures.push(error))
      .finally(() => pending.delete(following));
    pending.add(following);
  };
  const actIn = (room: string) => {
    const people = members.get(room) ?? [];
    const chosen = chooseAct(posts, { room, people, random, name: `${name}-act-${randomUUID()}` });
    if (chosen) follow(act(room, chosen.person, chosen.what, chosen.request));
  };
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startMs) / 1_000) * perSecond);
    for (; started < due; started++) {
      const room = random.pick(among);
      follow(post(room, random.pick(members.get(room) ?? [])));
      if (acts && started % POSTS_PER_ACT === 0) actIn(room);
    }
  }, 20);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function makeToken(environment: Environment, person: string): Promise<string> {
  const answer = await request(environment, environment.tenant.serverKey, {
    method: "POST",
    path: `/v1/users/${person}/tokens`,
    body: { expiresInS: 86_400 },
  });
  if (answer.status !== 200) throw new Error(`a token was refused with status ${String(answer.status)}`);
  return (answer.body as { token: string }).token;
}

/** One request. Status 0: no answer. */
async function request(
  environment: Pick<Environment, "apiUrl">,
  credential: string,
  call: { method: string; path: string; body?: unknown },
): Promise<{ status: number; body: unknown }> {
  try {
    const response = await fetch(environment.apiUrl + call.path, {
      method: call.method,
      headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: 0, body: null };
  }
}
