import { z } from "zod";

/** Centrifuge protocol v2: what a client may ask for. */

const LAST_ID = 2 ** 32 - 1;
const channelName = z.string().min(1).max(255);
const token = z.string().max(8_192);
const position = z.object({
  recover: z.boolean().default(false),
  epoch: z.string().max(64).default(""),
  offset: z.int().min(0).default(0),
});

/** The number that a client gives to a command. */
export const commandId = z.int().min(1).max(LAST_ID);

/** The request of each method. */
export const METHODS = {
  connect: z.object({ token: token.default(""), subs: z.record(channelName, position).default({}) }),
  subscribe: position.extend({ channel: channelName, flag: z.int().default(0) }),
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
export type Method = keyof typeof METHODS;

export type Command =
  | { [M in Method]: { id: number; method: M; request: z.infer<(typeof METHODS)[M]> } }[Method]
  | { method: "pong" }
  | { method: "send" };

export type CommandOf<M extends Command["method"]> = Extract<Command, { method: M }>;

export function isMethod(key: string): key is Method {
  return Object.hasOwn(METHODS, key);
}

const REJECT_UNRECOVERED = 2;

/** Whether a subscriber wants a refusal instead of a subscription without its missed publications. */
export function rejectsUnrecovered({ flag }: { flag: number }): boolean {
  return (flag & REJECT_UNRECOVERED) !== 0;
}
