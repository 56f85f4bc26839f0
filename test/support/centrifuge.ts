import {
  Centrifuge,
  type Options,
  type ServerPublicationContext,
  type ServerSubscribedContext,
} from "centrifuge";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { WebSocket } from "ws";
import type { RealtimeNode } from "./realtime.ts";

/** The official client, and every event that it emitted. */
export type Listener = {
  client: Centrifuge;
  /** All but those of the types `sent` and `presence`. */
  publications: ServerPublicationContext[];
  /** Who was present in the rooms, in order. */
  presence: { channel: string; online: number; users?: string[] }[];
  /** How far Matrix has followed the rooms, in order. */
  sent: { channel: string; number: number }[];
  subscribed: ServerSubscribedContext[];
  unsubscribed: string[];
  /** Codes of permanent closes, and of closes after which the client reconnects. */
  disconnected: number[];
  connecting: number[];
  /** Texts of the messages received in a room, in order. */
  texts: (channel: string) => string[];
  /** Offsets received in a room, in order. */
  offsets: (channel: string) => number[];
};

const open = new Set<Centrifuge>();

/** Creates a client, which the caller connects. */
export function createListener(node: { url: string }, options: Partial<Options>): Listener {
  const client = new Centrifuge(node.url, {
    websocket: WebSocket,
    minReconnectDelay: 50,
    maxReconnectDelay: 300,
    ...options,
  });
  open.add(client);
  const listener: Listener = {
    client,
    publications: [],
    presence: [],
    sent: [],
    subscribed: [],
    unsubscribed: [],
    disconnected: [],
    connecting: [],
    texts: (channel) =>
      listener.publications.flatMap((pub) => {
        const data = pub.data as { text?: string };
        return pub.channel === channel && data.text !== undefined ? [data.text] : [];
      }),
    offsets: (channel) =>
      listener.publications.flatMap((pub) =>
        pub.channel === channel && pub.offset !== undefined ? [pub.offset] : [],
      ),
  };
  client.on("publication", (context) => {
    const { type, number = 0 } = context.data as { type?: string; number?: number };
    if (type === "sent") listener.sent.push({ channel: context.channel, number });
    else if (type === "presence") {
      const { online, users } = context.data as { online: number; users?: string[] };
      listener.presence.push({ channel: context.channel, online, ...(users ? { users } : {}) });
    } else listener.publications.push(context);
  });
  client.on("subscribed", (context) => listener.subscribed.push(context));
  client.on("unsubscribed", ({ channel }) => listener.unsubscribed.push(channel));
  client.on("disconnected", ({ code }) => listener.disconnected.push(code));
  client.on("connecting", ({ code }) => listener.connecting.push(code));
  return listener;
}

/** Creates a client and waits until it is connected. */
export async function connectListener(
  node: { url: string },
  token: string,
  options: Partial<Options> = {},
): Promise<Listener> {
  const listener = createListener(node, { token, ...options });
  listener.client.connect();
  await listener.client.ready(5_000);
  // The client emits the server's subscriptions right after.
  await waitFor(() => listener.subscribed.length > 0);
  return listener;
}

export function closeListeners(): void {
  for (const client of open) client.disconnect();
  open.clear();
}

/** Waits for a condition. @throws with its text when it does not hold within the limit */
export async function waitFor(condition: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`still not after ${limitMs} ms: ${String(condition)}`);
    await setTimeout(10);
  }
}

type Reply = {
  id?: number;
  push?: Record<string, unknown>;
  error?: { code: number; temporary?: boolean };
  [method: string]: unknown;
};

/** A socket that sends exactly what a test passes. */
export class RawSocket {
  readonly socket: WebSocket;
  readonly replies: Reply[] = [];
  /** Frames as they arrived. */
  readonly frames: string[] = [];
  closeCode: number | null = null;

  constructor(node: RealtimeNode, protocols: string[] = [], headers: Record<string, string> = {}) {
    this.socket = new WebSocket(node.url, protocols, { headers });
    this.socket.on("message", (data: Buffer) => {
      this.frames.push(data.toString());
      for (const line of data.toString().split("\n")) this.replies.push(JSON.parse(line) as Reply);
    });
    this.socket.on("close", (code) => (this.closeCode = code));
    this.socket.on("error", () => undefined);
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, "open");
    return this;
  }

  send(...commands: unknown[]): void {
    this.socket.send(
      commands.map((command) => (typeof command === "string" ? command : JSON.stringify(command))).join("\n"),
    );
  }

  async reply(id: number): Promise<Reply> {
    await waitFor(() => this.replies.some((reply) => reply.id === id));
    return this.replies.find((reply) => reply.id === id) ?? {};
  }

  async closed(): Promise<number> {
    await waitFor(() => this.closeCode !== null);
    return this.closeCode ?? 0;
  }

  end(): void {
    this.socket.terminate();
  }
}

/** A raw socket whose connect was answered, also with a refusal. */
export async function tryConnectRaw(
  node: RealtimeNode,
  token: string,
  subs: Record<string, unknown> = {},
): Promise<RawSocket> {
  const raw = await new RawSocket(node).opened();
  raw.send({ id: 1, connect: { token, subs } });
  await raw.reply(1);
  return raw;
}

/** A raw socket whose connect was answered. As every client, it connects again after a temporary error. */
export async function connectRaw(
  node: RealtimeNode,
  token: string,
  subs: Record<string, unknown> = {},
): Promise<RawSocket> {
  const endMs = Date.now() + 30_000;
  for (;;) {
    const raw = await tryConnectRaw(node, token, subs);
    if ((await raw.reply(1)).error?.temporary !== true || Date.now() > endMs) return raw;
    raw.end();
    await setTimeout(100);
  }
}
