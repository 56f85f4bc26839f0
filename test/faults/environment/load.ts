import { setTimeout as sleep } from "node:timers/promises";
import { LoadSubscriber } from "./subscriber.ts";
import type { Environment } from "./environment.ts";
import type { Random } from "./random.ts";

const ANSWER_LIMIT_MS = 10_000;
const PAUSE_MS = 300;
const GIVE_UP_MS = 180_000;

/** A message that was asked to be sent; times by `performance.now()`. */
export type Post = {
  clientId: string;
  room: string;
  person: string;
  askedAtMs: number;
  /** Null until it was accepted. */
  id: string | null;
  acceptedAtMs: number | null;
  /** Of the first try, however it ended. */
  firstAnswerMs: number | null;
  firstStatus: number | null;
};

/** People in rooms, who talk and listen. */
export type Load = {
  rooms: string[];
  people: string[];
  members: Map<string, string[]>;
  posts: Post[];
  subscribers: LoadSubscriber[];
  /** Says something; resolves when it is accepted, however often it must be repeated. */
  say: (room: string, person: string, text?: string) => Promise<Post>;
  /** One try, whatever its answer. */
  tryOnce: (
    room: string,
    person: string,
    text: string,
    clientId: string,
  ) => Promise<{ status: number; ms: number; id: string | null }>;
  /** Opens one more socket for a person. */
  listen: (person: string) => Promise<LoadSubscriber>;
  /** Talks at a steady rate until stopped; `stop` resolves when all that was asked is accepted. */
  talk: (perSecond: number, random: Random, rooms?: readonly string[]) => { stop: () => Promise<void> };
  leave: () => void;
};

export type LoadPlan = { name: string; rooms: number; people: number; subscribers?: number };

/** Makes people and rooms, everybody in every second room, and their sockets (one each unless told). */
export async function gather(environment: Environment, plan: LoadPlan): Promise<Load> {
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
  const voice = createVoice(environment, { name: plan.name, tokenOf });
  const subscribers: LoadSubscriber[] = [];
  const listen = async (person: string) => {
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
    people.flatMap((person) => Array.from({ length: plan.subscribers ?? 1 }, () => listen(person))),
  );
  return {
    rooms,
    people,
    members,
    subscribers,
    ...voice,
    listen,
    talk: (perSecond, random, among = rooms) =>
      talk({ say: voice.say, members }, { perSecond, random, among }),
    leave: () => {
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
  if (answer.status >= 300) throw new Error(`making a room was answered ${String(answer.status)}`);
}

/** How the people speak, and what they asked to be sent. */
function createVoice(
  environment: Environment,
  { name, tokenOf }: { name: string; tokenOf: (person: string) => string },
): Pick<Load, "posts" | "say" | "tryOnce"> {
  const posts: Post[] = [];
  let count = 0;
  const tryOnce: Load["tryOnce"] = async (room, person, text, clientId) => {
    const startMs = performance.now();
    const path = `/v1/rooms/${room.replace(":", "/")}/messages`;
    const answer = await request(environment, tokenOf(person), {
      method: "POST",
      path,
      body: { text, clientId },
    });
    const id = answer.status >= 200 && answer.status < 300 ? (answer.body as { id: string }).id : null;
    return { status: answer.status, ms: performance.now() - startMs, id };
  };
  const say: Load["say"] = async (room, person, text) => {
    const clientId = `${name}-${String(++count)}`;
    const post: Post = {
      clientId,
      room,
      person,
      askedAtMs: performance.now(),
      id: null,
      acceptedAtMs: null,
      firstAnswerMs: null,
      firstStatus: null,
    };
    posts.push(post);
    while (performance.now() < post.askedAtMs + GIVE_UP_MS) {
      const { status, ms, id } = await tryOnce(room, person, text ?? clientId, clientId);
      post.firstAnswerMs ??= ms;
      post.firstStatus ??= status;
      if (id !== null) {
        post.id = id;
        post.acceptedAtMs = performance.now();
        return post;
      }
      if (status !== 0 && status < 500 && status !== 429)
        throw new Error(`a message was answered ${String(status)}`);
      await sleep(PAUSE_MS);
    }
    return post;
  };
  return { posts, say, tryOnce };
}

/** Open loop: what takes long does not keep the next from being said. */
function talk(
  { say, members }: Pick<Load, "say" | "members">,
  { perSecond, random, among }: { perSecond: number; random: Random; among: readonly string[] },
): { stop: () => Promise<void> } {
  const underWay = new Set<Promise<unknown>>();
  const failures: unknown[] = [];
  const startMs = performance.now();
  let said = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startMs) / 1_000) * perSecond);
    for (; said < due; said++) {
      const room = random.pick(among);
      const saying = say(room, random.pick(members.get(room) ?? []))
        .catch((error: unknown) => failures.push(error))
        .finally(() => underWay.delete(saying));
      underWay.add(saying);
    }
  }, 20);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(underWay);
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
  if (answer.status !== 200) throw new Error(`a token was answered ${String(answer.status)}`);
  return (answer.body as { token: string }).token;
}

/** One call; status 0 when there was no answer. */
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
