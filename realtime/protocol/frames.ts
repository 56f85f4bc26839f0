import type { ReplyError, Unsubscribe } from "./codes.ts";

/** A position in a stream, as the client names it. */
export type StreamPosition = { epoch: string; offset: number };

/** An entry of a stream that a client recovers. `data` is JSON text. */
export type RecoveredPublication = { data: string; offset: number };

/** How a subscription begins. `recovery` is null for a client that did not ask for one. */
export type SubscribeResult = StreamPosition & {
  recovery: { isRecovered: boolean; publications: readonly RecoveredPublication[] } | null;
};

export type ConnectResult = {
  client: string;
  version: string;
  ttlS: number;
  pingS: number;
  session: string;
  subs: readonly { channel: string; result: SubscribeResult }[];
};

export type RefreshResult = { client: string; ttlS: number };

/** The reply to command `id`. */
export type Reply = { kind: "reply"; id: number } & (
  | { method: "connect"; result: ConnectResult }
  | { method: "subscribe"; result: SubscribeResult }
  | { method: "refresh"; result: RefreshResult }
  | { method: "unsubscribe" | "ping" }
);

/** Refuses command `id`. */
export type ErrorReply = { kind: "error"; id: number; error: ReplyError };

/** Asks the client for a pong. */
export type Ping = { kind: "ping" };

/**
 * An event on a channel. `data` is JSON text, which is never parsed here. `offset` is null for an event that is not part
 * of the stream. `encoded` holds the bytes of each codec that a subscriber has used.
 */
export type Publication = {
  kind: "publication";
  channel: string;
  data: string;
  offset: number | null;
  encoded: Map<object, EncodedFrame>;
};

/** The server has subscribed the client to a channel. */
export type SubscribePush = { kind: "subscribe"; channel: string; result: SubscribeResult };

/** The server has ended the client's subscription. */
export type UnsubscribePush = { kind: "unsubscribe"; channel: string; why: Unsubscribe };

/** What a client receives, before the codec of its connection encodes it. */
export type Frame = Reply | ErrorReply | Ping | Publication | SubscribePush | UnsubscribePush;

/** What is written to a socket: a string as a text message, bytes as a binary message. */
export type Payload = string | Uint8Array;

/** A frame as a codec has encoded it. `bytes` is its size on the wire. */
export type EncodedFrame = { payload: Payload; bytes: number };

export const PING: Ping = { kind: "ping" };

export function createPublication(channel: string, data: string, offset: number | null): Publication {
  return { kind: "publication", channel, data, offset, encoded: new Map() };
}
