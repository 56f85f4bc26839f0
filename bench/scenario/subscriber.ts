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
};

export type Subscriber = {
  user: string;
  /** In the order received. */
  publications: Publication[];
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
    };
    publications.push(publication);
    options.onPublication(publication);
  });
  // The client retries by itself. A message that does not arrive is counted as lost.
  client.on("error", () => undefined);
  client.connect();
  await client.ready(30_000);
  return {
    user: options.user,
    publications,
    close: () => {
      client.disconnect();
    },
  };
}
