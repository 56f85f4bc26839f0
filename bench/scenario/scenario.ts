import { createRest, type Rest } from "../rest.ts";
import type { DemoStack } from "../stack.ts";
import { openSubscriber, type Subscriber } from "./subscriber.ts";
import { holdsWithin } from "../wait.ts";
import { checkDelivery, type AcceptedMessage, type DeliveryCounts, type Received } from "./checker.ts";
import { DELIVERY_LIMIT_MS, runConversation, type ConversationOptions } from "./conversation.ts";
import { createDeliveryTimes, type DeliveryTimes, type Latencies } from "./delivery-times.ts";
import { createRooms, PEOPLE, type Room } from "./fixtures.ts";
import { openMatrixClient } from "./matrix-client.ts";

export type ScenarioResult = {
  counts: DeliveryCounts;
  /** How many of the accepted messages Matrix has. */
  sent: number;
  /** From the kill until what it delayed goes on; 0 without a kill. */
  recoveryMs: number;
  latencies: Latencies;
  transcripts: { user: string; lines: string[] }[];
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
  const accepted = await runConversation(stack, options, { rooms, tokens, times, write });
  const matrixTexts = await postFromMatrix(rooms, write);
  const countLost = () => countAll(accepted, matrixTexts, { subscribers, rooms }).lost;
  const countSent = () => accepted.filter(times.isSent).length;
  await holdsWithin(DELIVERY_LIMIT_MS, () => countLost() === 0 && countSent() === accepted.length, 50);
  for (const subscriber of subscribers) subscriber.close();
  return {
    counts: countAll(accepted, matrixTexts, { subscribers, rooms }),
    sent: countSent(),
    recoveryMs: times.recoveryMs(),
    latencies: times.latencies(accepted),
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

/** Posts in the first room with a plain Matrix client. Returns the texts. */
async function postFromMatrix(rooms: readonly Room[], write: (line: string) => void): Promise<string[]> {
  const group = rooms[0];
  const sender = group?.members[0]?.user;
  if (!group || sender === undefined) return [];
  const client = await openMatrixClient(sender);
  const text = `Hello from a plain Matrix client, ${String(rooms.length)} rooms watch`;
  await client.post(group.name, text);
  write(`${sender} posted from a plain Matrix client`);
  return [text];
}

type Sockets = { subscribers: readonly Subscriber[]; rooms: readonly Room[] };

function countAll(
  accepted: readonly AcceptedMessage[],
  matrixTexts: readonly string[],
  { subscribers, rooms }: Sockets,
): DeliveryCounts {
  const counts = checkDelivery(
    accepted,
    subscribers.map((subscriber) => receivedBy(subscriber, rooms)),
  );
  return { ...counts, lost: counts.lost + countMissing(matrixTexts, { subscribers, rooms }) };
}

function receivedBy({ user, publications }: Subscriber, rooms: readonly Room[]): Received {
  return {
    rooms: rooms.filter((room) => isMember(user, room)).map((room) => room.key),
    messages: publications.filter(({ type }) => type === "message.created"),
  };
}

function isMember(user: string, room: Room): boolean {
  return room.members.some((member) => member.user === user);
}

/** Sockets of the first room that did not receive a text from a plain Matrix client exactly once. */
function countMissing(texts: readonly string[], { subscribers, rooms }: Sockets): number {
  const group = rooms[0];
  if (!group) return 0;
  const members = subscribers.filter(({ user }) => isMember(user, group));
  const timesReceived = ({ publications }: Subscriber, text: string) =>
    publications.filter(
      (publication) =>
        publication.channel === group.key &&
        publication.type === "message.created" &&
        publication.text === text,
    ).length;
  return texts.reduce(
    (sum, text) => sum + members.filter((member) => timesReceived(member, text) !== 1).length,
    0,
  );
}

/** What a user's first socket received, in the order received. */
function createTranscript(
  user: string,
  subscribers: readonly Subscriber[],
): { user: string; lines: string[] } {
  const subscriber = subscribers.find((candidate) => candidate.user === user);
  const lines = (subscriber?.publications ?? [])
    .filter(({ type }) => type === "message.created")
    .map(({ channel, offset, sender, text }) => `${channel} #${String(offset ?? 0)}  ${sender}: ${text}`);
  return { user, lines };
}
