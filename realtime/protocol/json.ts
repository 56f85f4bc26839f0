import { z } from "zod";
import type { ReplyError, Unsubscribe } from "./codes.ts";

/** Centrifuge protocol v2, JSON: commands and replies are lines of a frame. */

/** One reply or push, ready to be sent; built once, however many sockets get it. */
export type Frame = { text: string; bytes: number };

/** Where a client says it stands. */
export type StreamPosition = { epoch: string; offset: number };

const LAST_ID = 2 ** 32 - 1;
const channelName = z.string().min(1).max(255);
const token = z.string().max(8_192);
const place = z.object({
  recover: z.boolean().default(false),
  epoch: z.string().max(64).default(""),
  offset: z.int().min(0).default(0),
});

const METHODS = {
  connect: z.object({ token: token.default(""), subs: z.record(channelName, place).default({}) }),
  subscribe: place.extend({ channel: channelName, flag: z.int().default(0) }),
  unsubscribe: z.object({ channel: channelName }),
  refresh: z.object({ token: token.default("") }),
  publish: z.unknown(),
  presence: z.unknown(),
  presence_stats: z.unknown(),
  history: z.unknown(),
  rpc: z.unknown(),
  sub_refresh: z.unknown(),
  ping: z.unknown(),
};
type Method = keyof typeof METHODS;

export type Command =
  | { [M in Method]: { id: number; method: M; request: z.infer<(typeof METHODS)[M]> } }[Method]
  | { method: "pong" }
  | { method: "send" };

export type CommandOf<M extends Command["method"]> = Extract<Command, { method: M }>;

const REJECT_UNRECOVERED = 2;

/** Whether a subscriber would rather be refused than be let in without its missed publications. */
export function rejectsUnrecovered({ flag }: { flag: number }): boolean {
  return (flag & REJECT_UNRECOVERED) !== 0;
}

/** The commands of a frame, in order; null when the frame is not of the protocol. */
export function parseFrame(text: string): Command[] | null {
  const commands: Command[] = [];
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const command = parseLine(line);
    if (!command) return null;
    commands.push(command);
  }
  return commands.length === 0 ? null : commands;
}

function parseLine(line: string): Command | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  if (keys.length === 0) return { method: "pong" };
  if ("send" in value && !("id" in value)) return { method: "send" };
  const [method, ...others] = keys.filter(isMethod);
  const id = z
    .int()
    .min(1)
    .max(LAST_ID)
    .safeParse("id" in value ? value.id : null);
  if (!method || others.length > 0 || !id.success) return null;
  const request = METHODS[method].safeParse(Reflect.get(value, method));
  // The method chose its own schema, which the compiler cannot follow through the table.
  return request.success ? ({ id: id.data, method, request: request.data } as Command) : null;
}

function isMethod(key: string): key is Method {
  return Object.hasOwn(METHODS, key);
}

export function createFrame(text: string): Frame {
  return { text, bytes: Buffer.byteLength(text) };
}

export const PING_FRAME = createFrame("{}");

/** A reply to command `id`; `result` is JSON text. */
export function formatReply(id: number, method: Method, result: string): Frame {
  return createFrame(`{"id":${id},"${method}":${result}}`);
}

export function formatError(id: number, error: ReplyError): Frame {
  return createFrame(JSON.stringify({ id, error }));
}

/** A publication; `data` is JSON text, `offset` null for what is not part of a stream. */
export function formatPublication(channel: string, data: string, offset: number | null): Frame {
  return createFrame(`{"push":{"channel":${JSON.stringify(channel)},"pub":${formatPub(data, offset)}}}`);
}

function formatPub(data: string, offset: number | null): string {
  return offset === null ? `{"data":${data}}` : `{"data":${data},"offset":${offset}}`;
}

export function formatUnsubscribe(channel: string, { code, reason }: Unsubscribe): Frame {
  return createFrame(JSON.stringify({ push: { channel, unsubscribe: { code, reason } } }));
}

/** How a subscription begins. `recovery` is null for a client that asked for none. */
export type SubscribeResult = StreamPosition & {
  recovery: { isRecovered: boolean; publications: readonly { data: string; offset: number }[] } | null;
};

export function formatSubscribeResult({ epoch, offset, recovery }: SubscribeResult): string {
  const start = `{"recoverable":true,"positioned":true,"epoch":${JSON.stringify(epoch)},"offset":${offset}`;
  if (!recovery) return `${start}}`;
  const publications = recovery.publications.map((pub) => formatPub(pub.data, pub.offset)).join(",");
  return `${start},"recovered":${recovery.isRecovered},"was_recovering":true,"publications":[${publications}]}`;
}

/** Tells a client that the server has subscribed it. */
export function formatSubscribePush(channel: string, result: SubscribeResult): Frame {
  return createFrame(
    `{"push":{"channel":${JSON.stringify(channel)},"subscribe":${formatSubscribeResult(result)}}}`,
  );
}

export type ConnectResult = {
  client: string;
  version: string;
  ttlS: number;
  pingS: number;
  session: string;
  subs: readonly { channel: string; result: SubscribeResult }[];
};

export function formatConnectResult({ client, version, ttlS, pingS, session, subs }: ConnectResult): string {
  const head = JSON.stringify({
    client,
    version,
    expires: true,
    ttl: ttlS,
    ping: pingS,
    pong: true,
    session,
  });
  const list = subs.map(
    ({ channel, result }) => `${JSON.stringify(channel)}:${formatSubscribeResult(result)}`,
  );
  return `${head.slice(0, -1)},"subs":{${list.join(",")}}}`;
}
