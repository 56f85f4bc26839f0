import { createRest, type Rest } from "../rest.ts";
import { runActs } from "./acts.ts";
import { actFromMatrix, type FromMatrix } from "./from-matrix.ts";
import { receivedIn } from "./received.ts";
import { describeViews } from "./view.ts";
import type { DemoStack } from "../stack.ts";
import { openSubscriber, type Subscriber } from "./subscriber.ts";
import { holdsWithin } from "../wait.ts";
import { checkDelivery, type AcceptedMessage, type DeliveryCounts, type Received } from "./checker.ts";
import { DELIVERY_LIMIT_MS, runConversation, type ConversationOptions } from "./conversation.ts";
import {
  createDeliveryTimes,
  type DeliveryTimes,
  type Latencies,
  type ScenarioMessage,
} from "./delivery-times.ts";
import { createRooms, PEOPLE, type Room } from "./fixtures.ts";
import { openMatrixClient } from "./matrix-client.ts";

export type ScenarioResult = {
  /** Of messages and of acts on messages. */
  counts: DeliveryCounts;
  /** How many messages were accepted in the conversation, and how many of them Matrix has. */
  messages: number;
  sent: number;
  /** From the kill until what it delayed goes on; 0 without a kill. */
  recoveryMs: number;
  latencies: Latencies;
  /** The lines of each room, as each user saw it. */
  transcripts: { user: string; rooms: string[][] }[];
};

const SOCKETS_EACH = 2;

/** Runs a conversation on a running stack and counts what every socket received. */
export async function runScenario(
  stack: DemoStack,
  options: ConversationOptions,
  write: (line: string) => void,
): Promise<ScenarioResult> {
  const server = createRest(stack.apiUrl, stack.serverKey);
  const rooms = createRooms(Date.now().toString(36));
  write(
    `${String(PEOPLE.length + 2)} people, ${String(rooms.length)} rooms, ${String(options.messages)} messages`,
  );
  await putRooms(server, rooms);
  const users = [...new Set(rooms.flatMap((room) => room.members.map((member) => member.user)))];
  const tokens = new Map<string, string>();
  for (const user of users) tokens.set(user, await server.token(user));
  const times = createDeliveryTimes();
  const subscribers = await openSubscribers(stack, server, users, times);
  write(`${String(subscribers.length)} sockets are open`);
  const sockets = { subscribers, rooms };
  const messages = await runConversation(stack, options, { rooms, tokens, times, write });
  const acted = await runActs(stack, { room: groupOf(rooms), tokens });
  const accepted = [...messages, ...acted];
  const fromMatrix = await runFromMatrix(sockets, messages, write);
  const countLost = () => countAll(accepted, fromMatrix, sockets).lost;
  const countSent = () => messages.filter(times.isSent).length;
  await holdsWithin(DELIVERY_LIMIT_MS, () => countLost() === 0 && countSent() === messages.length, 50);
  for (const subscriber of subscribers) subscriber.close();
  return {
    counts: countAll(accepted, fromMatrix, sockets),
    messages: messages.length,
    sent: countSent(),
    recoveryMs: times.recoveryMs(),
    latencies: times.latencies(messages),
    transcripts: users.map((user) => createTranscript(user, subscribers)),
  };
}

async function putRooms(server: Rest, rooms: readonly Room[]): Promise<void> {
  for (const { user, displayName } of PEOPLE) await server.putUser(user, displayName);
  for (const room of rooms) {
    const isDirect = room.path === "/v1/rooms/direct";
    const body = isDirect
      ? { users: room.members.map((member) => member.user) }
      : { name: room.name, members: room.members };
    await server.putRoom(room.path, body);
  }
}

function openSubscribers(
  stack: DemoStack,
  server: Rest,
  users: readonly string[],
  times: DeliveryTimes,
): Promise<Subscriber[]> {
  return Promise.all(
    users
      .flatMap((user) => Array.from({ length: SOCKETS_EACH }, () => user))
      .map((user) =>
        openSubscriber({
          socketUrl: stack.socketUrl,
          user,
          getToken: () => server.token(user),
          onPublication: times.recordPublication,
        }),
      ),
  );
}

/** The first room: in it people act on messages, here and with a plain Matrix client. */
function groupOf(rooms: readonly Room[]): Room {
  const [group] = rooms;
  if (!group) throw new Error("the scenario has no room");
  return group;
}

/** Its owner writes and acts in the group with a plain Matrix client. */
async function runFromMatrix(
  sockets: Sockets,
  messages: readonly ScenarioMessage[],
  write: (line: string) => void,
): Promise<FromMatrix[]> {
  const group = groupOf(sockets.rooms);
  const owner = group.members[0]?.user ?? "";
  const first = messages.find(({ room }) => room === group.key);
  const [socket] = sockets.subscribers.filter(({ user }) => isMember(user, group));
  const ourText = socket?.publications.find(({ id }) => id === first?.id)?.text ?? "";
  const done = await actFromMatrix(await openMatrixClient(owner), { roomName: group.name, ourText }, (one) =>
    holdsWithin(DELIVERY_LIMIT_MS, () => countMissing([one], sockets) === 0, 50),
  );
  write(`${owner} wrote, corrected, reacted and deleted with a plain Matrix client`);
  return done;
}

type Sockets = { subscribers: readonly Subscriber[]; rooms: readonly Room[] };

function countAll(
  accepted: readonly AcceptedMessage[],
  fromMatrix: readonly FromMatrix[],
  { subscribers, rooms }: Sockets,
): DeliveryCounts {
  const counts = checkDelivery(
    accepted,
    subscribers.map((subscriber) => receivedBy(subscriber, rooms)),
  );
  return { ...counts, lost: counts.lost + countMissing(fromMatrix, { subscribers, rooms }) };
}

function receivedBy({ user, publications }: Subscriber, rooms: readonly Room[]): Received {
  return {
    rooms: rooms.filter((room) => isMember(user, room)).map((room) => room.key),
    messages: publications.flatMap((publication) => receivedIn(publication) ?? []),
  };
}

function isMember(user: string, room: Room): boolean {
  return room.members.some((member) => member.user === user);
}

/** Sockets of the group that did not receive exactly once what somebody did with a plain Matrix client. */
function countMissing(fromMatrix: readonly FromMatrix[], { subscribers, rooms }: Sockets): number {
  const group = groupOf(rooms);
  const members = subscribers.filter(({ user }) => isMember(user, group));
  const timesReceived = ({ publications }: Subscriber, { type, text, key = "" }: FromMatrix) => {
    const inGroup = publications.filter(({ channel }) => channel === group.key);
    const message = inGroup.find((one) => one.type === "message.created" && one.text === text)?.id;
    return inGroup.filter((one) => {
      const received = receivedIn(one);
      return one.type === type && received?.message === message && received?.key === key;
    }).length;
  };
  return fromMatrix.reduce(
    (sum, done) => sum + members.filter((member) => timesReceived(member, done) !== 1).length,
    0,
  );
}

/** What a user's first socket shows at the end. */
function createTranscript(
  user: string,
  subscribers: readonly Subscriber[],
): { user: string; rooms: string[][] } {
  const subscriber = subscribers.find((candidate) => candidate.user === user);
  return { user, rooms: describeViews(subscriber?.publications ?? [], user) };
}
