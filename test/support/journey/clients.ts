import { Centrifuge, State, type ServerSubscribedContext } from "centrifuge";
import { z } from "zod";
import { WebSocket } from "ws";
import { publication, type Publication } from "../../../shared/contract/frames.ts";
import {
  memberResource,
  myRoomResource,
  readMessage,
  roomResource,
  type MemberResource,
  type MyRoomResource,
  type ReadMessage,
  type RoomResource,
} from "../../../shared/contract/resources.ts";
import { waitUntil } from "../stack-wait.ts";
import { parseWhole } from "../parse-whole.ts";

export type Answer = { status: number; body: unknown; headers: Headers };
type CallOptions = { body?: unknown; headers?: Record<string, string> };

/** The REST API with one credential. */
class Api {
  readonly #url: string;
  readonly credential: string;

  constructor(url: string, credential: string) {
    this.#url = url;
    this.credential = credential;
  }

  async call(method: string, path: string, { body, headers = {} }: CallOptions = {}): Promise<Answer> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.credential}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(40_000),
    });
    const text = await response.text();
    const answer = text === "" ? null : (JSON.parse(text) as unknown);
    return { status: response.status, body: answer, headers: response.headers };
  }

  /** A call that must succeed; its response is parsed with a schema. */
  async expect<T>(schema: z.ZodType<T>, method: string, path: string, options: CallOptions = {}): Promise<T> {
    const { status, body } = await this.call(method, path, options);
    if (status >= 300) throw new Error(`${method} ${path} was answered ${status}: ${JSON.stringify(body)}`);
    return parseWhole(schema, body);
  }
}

export function roomPath(room: string, rest = ""): string {
  const colon = room.indexOf(":");
  return `/v1/rooms/${room.slice(0, colon)}/${encodeURIComponent(room.slice(colon + 1))}${rest}`;
}

const memberPage = z.object({ items: z.array(memberResource), next: z.string().nullable() });
export type DesiredMember = { user: string; role?: string };
type DesiredRoom = {
  name?: string;
  topic?: string | null;
  avatar?: string;
  visibility?: "private" | "public";
  members?: DesiredMember[];
};

/** A product's backend. */
export class Backend extends Api {
  putRoom(room: string, desired: DesiredRoom = {}): Promise<RoomResource> {
    const body = room.startsWith("direct:") ? desired : { name: room, ...desired };
    return this.expect(roomResource, "PUT", roomPath(room), { body });
  }

  room(room: string): Promise<RoomResource> {
    return this.expect(roomResource, "GET", roomPath(room));
  }

  changeRoom(room: string, patch: DesiredRoom): Promise<RoomResource> {
    const headers = { "content-type": "application/merge-patch+json" };
    return this.expect(roomResource, "PATCH", roomPath(room), { body: patch, headers });
  }

  putMember(room: string, user: string, role = "member"): Promise<MemberResource> {
    return this.expect(memberResource, "PUT", roomPath(room, `/members/${user}`), { body: { role } });
  }

  async putMembers(room: string, members: readonly DesiredMember[]): Promise<MemberResource[]> {
    return (await this.expect(memberPage, "POST", roomPath(room, "/members"), { body: { members } })).items;
  }

  removeMember(room: string, user: string): Promise<MemberResource> {
    return this.expect(memberResource, "DELETE", roomPath(room, `/members/${user}`));
  }

  member(room: string, user: string): Promise<MemberResource> {
    return this.expect(memberResource, "GET", roomPath(room, `/members/${user}`));
  }
}

const messagePage = z.object({
  items: z.array(readMessage),
  epoch: z.string(),
  offset: z.int(),
  sentUpTo: z.int(),
  pending: z.array(readMessage),
  hasMore: z.boolean(),
});
export type MessagePage = z.infer<typeof messagePage>;
const myRoomPage = z.object({ items: z.array(myRoomResource), next: z.string().nullable() });

const position = z.object({
  room: z.string(),
  number: z.int(),
  unread: z.int(),
  mentions: z.int(),
  firstUnread: z.int().nullable(),
});

/** A user of a product, with a token. */
export class Person extends Api {
  readonly user: string;
  readonly token: string;

  constructor(url: string, user: string, token: string) {
    super(url, token);
    this.user = user;
    this.token = token;
  }

  say(
    room: string,
    text: string,
    { clientId, waitS }: { clientId?: string; waitS?: number } = {},
  ): Promise<ReadMessage> {
    return this.expect(readMessage, "POST", roomPath(room, "/messages"), {
      body: { text, ...(clientId === undefined ? {} : { clientId }) },
      headers: waitS === undefined ? {} : { prefer: `wait=${waitS}` },
    });
  }

  read(room: string, query = ""): Promise<MessagePage> {
    return this.expect(messagePage, "GET", roomPath(room, `/messages${query}`));
  }

  /** All messages of a room after a number, page by page. */
  async readAll(room: string, after = 0): Promise<ReadMessage[]> {
    const items: ReadMessage[] = [];
    for (let from = after; ; from = items.at(-1)?.number ?? from) {
      const page = await this.read(room, `?after=${from}&limit=100`);
      items.push(...page.items);
      if (!page.hasMore) return items;
    }
  }

  async type(room: string, typing: boolean): Promise<void> {
    await this.expect(z.null(), "PUT", roomPath(room, "/typing"), { body: { typing } });
  }

  readUpTo(room: string, number: number): Promise<z.infer<typeof position>> {
    return this.expect(position, "PUT", roomPath(room, "/read"), { body: { number } });
  }

  async rooms(): Promise<MyRoomResource[]> {
    return (await this.expect(myRoomPage, "GET", "/v1/me/rooms")).items;
  }

  async myRoom(room: string): Promise<MyRoomResource | undefined> {
    return (await this.rooms()).find((item) => item.room === room);
  }
}

/** A publication as a client received it; `offset` is null for an unnumbered event. */
export type ReceivedPublication = { channel: string; offset: number | null; data: Publication };

/** One WebSocket of one person: the official client, and every publication that it received. */
export class Socket {
  readonly received: ReceivedPublication[] = [];
  readonly subscriptions: ServerSubscribedContext[] = [];
  readonly left: string[] = [];
  /** The permanent codes with which the server closed it. */
  readonly closed: number[] = [];
  readonly #client: Centrifuge;
  readonly #transports = new Set<WebSocket>();
  #isAway = false;

  constructor(url: string, token: string) {
    const options = { websocket: this.#transport(), token, minReconnectDelay: 50, maxReconnectDelay: 200 };
    this.#client = new Centrifuge(url, options);
    this.#client.on("publication", ({ channel, offset, data }) => {
      this.received.push({ channel, offset: offset ?? null, data: parseWhole(publication, data) });
    });
    this.#client.on("subscribed", (context) => this.subscriptions.push(context));
    this.#client.on("unsubscribed", ({ channel }) => this.left.push(channel));
    this.#client.on("disconnected", ({ code }) => this.closed.push(code));
  }

  /** Connects and waits for the subscription to the person's own channel. */
  async connect(user: string): Promise<this> {
    this.#client.connect();
    await this.waitFor("it is connected", () =>
      this.subscriptions.some(({ channel }) => channel === `user:${user}`),
    );
    return this;
  }

  /** Breaks the connection and every new one until `comeBack`. */
  goAway(): void {
    this.#isAway = true;
    for (const transport of this.#transports) transport.terminate();
  }

  /** Allows connections again; resolves when the client has reconnected. */
  async comeBack(): Promise<void> {
    const before = this.subscriptions.length;
    this.#isAway = false;
    await this.waitFor(
      "it is back",
      () => this.subscriptions.length > before && this.#client.state === State.Connected,
    );
  }

  /** The publications of a room that were received; by default only the numbered ones. */
  in(room: string, { numbered = true } = {}): ReceivedPublication[] {
    return this.received.filter(({ channel, offset }) => channel === room && (!numbered || offset !== null));
  }

  /** Numbers received in a room, in the order received. */
  numbers(room: string): number[] {
    return this.in(room).map(({ offset }) => offset ?? 0);
  }

  /** Texts of a room's messages, in the order received. */
  texts(room: string): string[] {
    return this.in(room).flatMap(({ data }) => (data.type === "message.created" ? [data.text] : []));
  }

  /** The context of the last subscription to a room. */
  subscription(room: string): ServerSubscribedContext | undefined {
    return this.subscriptions.findLast(({ channel }) => channel === room);
  }

  waitFor(what: string, condition: () => boolean, limitMs = 20_000): Promise<boolean> {
    const explain = () =>
      `received: ${JSON.stringify(this.received.slice(-5))}, closed: ${JSON.stringify(this.closed)}`;
    return waitUntil(what, condition, { limitMs, explain });
  }

  end(): void {
    this.#client.disconnect();
  }

  /** A class of WebSockets that fail while the connection is broken. */
  #transport(): unknown {
    const transports = this.#transports;
    const isAway = () => this.#isAway;
    return class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        transports.add(this);
        this.once("close", () => transports.delete(this));
        if (isAway()) queueMicrotask(() => this.terminate());
      }
    };
  }
}
