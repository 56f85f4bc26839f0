import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { z } from "zod";

/** A publication as one socket received it; times by `performance.now()`. */
export type Publication = {
  atMs: number;
  channel: string;
  type: string;
  id: string;
  /** Null for an unnumbered event. */
  offset: number | null;
  /** The number in its data: of an entry, or the one up to which Matrix has the room's messages. */
  number: number | null;
  text: string;
  sender: string;
  data: unknown;
};

/** A channel's subscription: when, after which offset (null where it has none), and whether what was missed follows. */
export type Subscribed = { atMs: number; channel: string; offset: number | null; recovered: boolean };

export type Subscriber = {
  user: string;
  /** In the order received. */
  publications: Publication[];
  /** In the order received: again after each connection. */
  subscribed: Subscribed[];
  /** Ends the connection, and keeps the offsets to recover from. */
  leave: () => void;
  /** Connects after `leave`; resolves when it is connected. */
  comeBack: () => Promise<void>;
  close: () => void;
};

const eventData = z.looseObject({
  type: z.string(),
  id: z.string().optional(),
  number: z.number().nullable().optional(),
  text: z.string().optional(),
  sender: z.object({ user: z.string().nullable(), displayName: z.string().nullable() }).optional(),
});

/** Opens one socket of a user with the official client; resolves when it is connected. It reconnects without limit. */
export async function openSubscriber(options: {
  socketUrl: string;
  user: string;
  getToken: () => Promise<string>;
  onPublication: (publication: Publication) => void;
}): Promise<Subscriber> {
  const client = new Centrifuge(options.socketUrl, {
    websocket: WebSocket,
    getToken: options.getToken,
    minReconnectDelay: 100,
    maxReconnectDelay: 2_000,
  });
  const publications: Publication[] = [];
  client.on("publication", ({ channel, offset = null, data }) => {
    const parsed = eventData.safeParse(data);
    if (!parsed.success) return;
    const { type, id = "", number = null, text = "", sender } = parsed.data;
    const publication = {
      atMs: performance.now(),
      channel,
      type,
      id,
      offset,
      number,
      text,
      sender: sender?.user ?? sender?.displayName ?? "",
      data: data as unknown,
    };
    publications.push(publication);
    options.onPublication(publication);
  });
  const subscribed: Subscribed[] = [];
  client.on("subscribed", ({ channel, streamPosition, recovered }) => {
    const offset = streamPosition?.offset ?? null;
    subscribed.push({ atMs: performance.now(), channel, offset, recovered });
  });
  // The client retries by itself. A message that does not arrive is counted as lost.
  client.on("error", () => undefined);
  const connect = () => {
    client.connect();
    return client.ready(30_000);
  };
  const leave = () => {
    client.disconnect();
  };
  await connect();
  return { user: options.user, publications, subscribed, leave, comeBack: connect, close: leave };
}
