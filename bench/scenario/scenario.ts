import { createRooms, lineOf, PEOPLE, type Room } from "./fixtures.ts";
import { judge, type Accepted, type Verdict } from "./checker.ts";
import { openListener, type Heard, type Listener } from "./listener.ts";
import { openMatrixUser } from "./matrix-person.ts";
import { createRest, type Rest } from "./rest.ts";
import type { DemoStack } from "./stack.ts";

export type ScenarioResult = {
  verdict: Verdict;
  /** From the kill to the first delivery after it; 0 without a kill. */
  recoveryMs: number;
  /**
   * Milliseconds from asking to: the API's answer, the first `message.pending`, the last socket's `message.created`.
   * `firstWords`: the delivery of everybody's first message in a room, for which account, room and join are made.
   */
  latencies: { accepted: number[]; pending: number[]; delivered: number[]; firstWords: number[] };
  transcripts: { person: string; lines: string[] }[];
};

type Options = { messages: number; kill: "workers" | "sync" | "realtime" | null };

const SOCKETS_EACH = 2;
/** Pause between two messages of one room, so that a conversation is a conversation and latency is not queueing. */
const PAUSE_MS = 120;
const DELIVERY_LIMIT_MS = 90_000;

/** Plays a conversation through a running stack and judges what every socket heard. */
export async function perform(
  stack: DemoStack,
  options: Options,
  say: (line: string) => void,
): Promise<ScenarioResult> {
  const run = Date.now().toString(36);
  const server = createRest(stack.apiUrl, stack.serverKey);
  const rooms = createRooms(run);
  say(
    `${String(PEOPLE.length + 2)} people, ${String(rooms.length)} rooms, ${String(options.messages)} messages`,
  );
  await makeRooms(server, rooms);
  const people = [...new Set(rooms.flatMap((room) => room.members.map((member) => member.user)))];
  const tokens = new Map<string, string>();
  for (const person of people) tokens.set(person, await server.token(person));
  const stage = createStage(rooms);
  const listeners = await openListeners(stack, server, people, stage);
  say(`${String(listeners.length)} sockets are open`);
  const accepted = await converse(stack, options, { rooms, tokens, stage, say });
  const foreign = await speakFromMatrix(rooms, stage, say);
  await waitForAll(accepted, foreign, listeners, rooms);
  for (const listener of listeners) listener.close();
  const verdict = judge(
    accepted,
    listeners.map((listener) => hearingOf(listener, rooms)),
  );
  return {
    verdict: { ...verdict, lost: verdict.lost + countMissing(foreign, listeners, rooms) },
    recoveryMs: stage.recoveryMs(),
    latencies: stage.latencies(accepted),
    transcripts: people.map((person) => transcriptOf(person, listeners)),
  };
}

async function makeRooms(server: Rest, rooms: readonly Room[]): Promise<void> {
  for (const { user, displayName } of PEOPLE) await server.putUser(user, displayName);
  for (const room of rooms) {
    const isDirect = room.path === "/v1/rooms/direct";
    const body = isDirect
      ? { users: room.members.map((member) => member.user) }
      : { name: room.name, members: room.members };
    await server.putRoom(room.path, body);
  }
}

async function openListeners(
  stack: DemoStack,
  server: Rest,
  people: readonly string[],
  stage: Stage,
): Promise<Listener[]> {
  const seats = people.flatMap((person) => Array.from({ length: SOCKETS_EACH }, () => person));
  return Promise.all(
    seats.map((person) =>
      openListener({
        socketUrl: stack.socketUrl,
        person,
        getToken: () => server.token(person),
        onHeard: stage.onHeard,
      }),
    ),
  );
}

/** What happens during the play, as it is heard. */
type Stage = ReturnType<typeof createStage>;

function createStage(rooms: readonly Room[]) {
  const firstPending = new Map<string, number>();
  const lastCreated = new Map<string, number>();
  let killedAtMs: number | null = null;
  let firstAfterKillMs: number | null = null;
  const askedAfterKill = new Set<string>();
  return {
    rooms,
    onHeard: (heard: Heard) => {
      if (heard.type === "message.pending" && !firstPending.has(heard.id))
        firstPending.set(heard.id, heard.atMs);
      if (heard.type !== "message.created") return;
      lastCreated.set(heard.id, heard.atMs);
      if (firstAfterKillMs === null && askedAfterKill.has(heard.id)) firstAfterKillMs = heard.atMs;
    },
    kill: (atMs: number) => {
      killedAtMs = atMs;
    },
    asked: (message: Accepted) => {
      if (killedAtMs !== null && message.askedAtMs > killedAtMs) askedAfterKill.add(message.id);
    },
    recoveryMs: () =>
      killedAtMs === null || firstAfterKillMs === null ? 0 : Math.round(firstAfterKillMs - killedAtMs),
    isDelivered: (message: Accepted) => lastCreated.has(message.id),
    latencies: (accepted: readonly Line[]) => {
      const later = accepted.filter((message) => !message.isFirst);
      return {
        accepted: accepted.map((message) => message.acceptedAtMs - message.askedAtMs),
        pending: accepted.flatMap((message) => since(firstPending, message)),
        delivered: later.flatMap((message) => since(lastCreated, message)),
        firstWords: accepted
          .filter((message) => message.isFirst)
          .flatMap((message) => since(lastCreated, message)),
      };
    },
  };
}

type Line = Accepted & { isFirst: boolean };

function since(times: ReadonlyMap<string, number>, message: Accepted): number[] {
  const atMs = times.get(message.id);
  return atMs === undefined ? [] : [atMs - message.askedAtMs];
}

type Scene = {
  rooms: readonly Room[];
  tokens: ReadonlyMap<string, string>;
  stage: Stage;
  say: (line: string) => void;
};

/** Every room's people speak in turn, the rooms side by side; in the middle a process may be killed. */
async function converse(stack: DemoStack, options: Options, scene: Scene): Promise<Line[]> {
  const accepted: Line[] = [];
  let asked = 0;
  const killAt = options.kill === null ? Number.POSITIVE_INFINITY : Math.floor(options.messages / 2);
  const speak = async (room: Room): Promise<void> => {
    for (let turn = 0; asked < options.messages; turn++) {
      const index = asked++;
      if (index === killAt) killTier(stack, options.kill, scene);
      const speaker = room.members[turn % room.members.length]?.user ?? "";
      const rest = createRest(stack.apiUrl, scene.tokens.get(speaker) ?? "");
      const askedAtMs = performance.now();
      const message = await rest.post(
        room.key,
        lineOf(index),
        `demo-${String(index)}-${room.key.slice(0, 60)}`,
      );
      const isFirst = turn < room.members.length;
      const line = { id: message.id, room: room.key, askedAtMs, acceptedAtMs: performance.now(), isFirst };
      accepted.push(line);
      scene.stage.asked(line);
      // Everybody has said hello: the conversation goes on when the room, the accounts and the joins are made.
      if (turn === room.members.length - 1) await waitUntil(() => scene.stage.isDelivered(line));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  await Promise.all(scene.rooms.map(speak));
  return accepted;
}

async function waitUntil(condition: () => boolean): Promise<void> {
  const limitAtMs = performance.now() + DELIVERY_LIMIT_MS;
  while (!condition() && performance.now() < limitAtMs)
    await new Promise((resolve) => setTimeout(resolve, 50));
}

function killTier(stack: DemoStack, tier: Options["kill"], { stage, say }: Scene): void {
  const pid = tier === null ? undefined : stack.pids[tier];
  if (pid === undefined) throw new Error(`the stack names no process for ${String(tier)}`);
  process.kill(pid, "SIGKILL");
  stage.kill(performance.now());
  say(`killed ${String(tier)} (process ${String(pid)}) with -9`);
}

/** Somebody with a plain Matrix client speaks in the group's room. Answers what was said. */
async function speakFromMatrix(
  rooms: readonly Room[],
  stage: Stage,
  say: (line: string) => void,
): Promise<string[]> {
  const group = rooms[0];
  const speaker = group?.members[0]?.user;
  if (!group || speaker === undefined) return [];
  const person = await openMatrixUser(speaker);
  const text = `Hello from a plain Matrix client, ${stage.rooms.length.toString()} rooms watch`;
  await person.say(group.name, text);
  say(`${speaker} spoke from a plain Matrix client`);
  return [text];
}

async function waitForAll(
  accepted: readonly Accepted[],
  foreign: readonly string[],
  listeners: readonly Listener[],
  rooms: readonly Room[],
): Promise<void> {
  const isLost = () =>
    judge(
      accepted,
      listeners.map((listener) => hearingOf(listener, rooms)),
    ).lost > 0;
  await waitUntil(() => !isLost() && countMissing(foreign, listeners, rooms) === 0);
}

function roomsOf(person: string, rooms: readonly Room[]): Room[] {
  return rooms.filter((room) => room.members.some((member) => member.user === person));
}

function hearingOf(listener: Listener, rooms: readonly Room[]) {
  return {
    name: listener.person,
    rooms: roomsOf(listener.person, rooms).map((room) => room.key),
    heard: listener.heard.filter((heard) => heard.type === "message.created"),
  };
}

/** Sockets of the first room that did not hear what was said from a plain Matrix client exactly once. */
function countMissing(
  texts: readonly string[],
  listeners: readonly Listener[],
  rooms: readonly Room[],
): number {
  const group = rooms[0]?.key;
  const members = listeners.filter((listener) =>
    roomsOf(listener.person, rooms).some((room) => room.key === group),
  );
  const isHeardOnce = (listener: Listener, text: string) =>
    listener.heard.filter(
      (heard) => heard.channel === group && heard.type === "message.created" && heard.text === text,
    ).length === 1;
  return texts.reduce(
    (sum, text) => sum + members.filter((listener) => !isHeardOnce(listener, text)).length,
    0,
  );
}

/** What a person's first socket showed, in the order it came. */
function transcriptOf(person: string, listeners: readonly Listener[]): { person: string; lines: string[] } {
  const listener = listeners.find((candidate) => candidate.person === person);
  const lines = (listener?.heard ?? [])
    .filter((heard) => heard.type === "message.created")
    .map((heard) => `${heard.channel} #${String(heard.offset ?? 0)}  ${heard.by}: ${heard.text}`);
  return { person, lines };
}
