import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { z } from "zod";

/** A publication as one socket got it; times by `performance.now()`. */
export type Heard = {
  atMs: number;
  channel: string;
  type: string;
  id: string;
  offset: number | null;
  text: string;
  by: string;
};

export type Listener = {
  person: string;
  heard: Heard[];
  /** Rooms whose history the socket was told to load anew: it heard a gap. */
  reloads: string[];
  close: () => void;
};

const data = z.looseObject({
  type: z.string(),
  id: z.string().optional(),
  text: z.string().optional(),
  sender: z.object({ user: z.string().nullable(), displayName: z.string().nullable() }).optional(),
});

/** One socket of one person, by the official client; resolves when connected. It reconnects by itself for ever. */
export async function openListener(options: {
  socketUrl: string;
  person: string;
  getToken: () => Promise<string>;
  onHeard: (heard: Heard) => void;
}): Promise<Listener> {
  const client = new Centrifuge(options.socketUrl, {
    websocket: WebSocket,
    getToken: options.getToken,
    minReconnectDelay: 100,
    maxReconnectDelay: 2_000,
  });
  const listener: Listener = {
    person: options.person,
    heard: [],
    reloads: [],
    close: () => {
      client.disconnect();
    },
  };
  client.on("publication", (context) => {
    const parsed = data.safeParse(context.data);
    if (!parsed.success) return;
    const { type, id = "", text = "", sender } = parsed.data;
    const by = sender?.user ?? sender?.displayName ?? "";
    const heard = {
      atMs: performance.now(),
      channel: context.channel,
      type,
      id,
      offset: context.offset ?? null,
      text,
      by,
    };
    listener.heard.push(heard);
    options.onHeard(heard);
  });
  client.on("subscribed", (context) => {
    if (context.wasRecovering && !context.recovered) listener.reloads.push(context.channel);
  });
  // The client retries by itself; what it could not mend shows as lost messages in the count.
  client.on("error", () => undefined);
  client.connect();
  await client.ready(30_000);
  return listener;
}
