import { Centrifuge, type ServerSubscribedContext } from "centrifuge";
import { WebSocket } from "ws";
import { setTimeout as sleep } from "node:timers/promises";
import { parsePublication, type Publication } from "../../../shared/contract/frames.ts";
import { EMPTY_VIEW, mergePage, reduce, type RoomView } from "../../../shared/contract/reduce.ts";
import type { MessageResource } from "../../../shared/contract/resources.ts";
import type { Environment } from "./environment.ts";

type Delivery = { number: number; id: string; atMs: number; how: "published" | "loaded" };
type Received = { type: string; id?: string; message?: string; number?: number; stub?: unknown };
type Page = { items: (MessageResource & { number: number })[]; hasMore: boolean };

/** What one socket has received of one room. */
export type RoomState = {
  received: Delivery[];
  /** The offset of the last publication; null before the first subscription. */
  position: number | null;
  /** Publications whose offset does not follow the one before. */
  breaks: number;
  /** The numbers of `sent`, with the times, and how often one was lower than the one before or overtook the messages. */
  sent: { number: number; atMs: number }[];
  wrongSents: number;
  /** How often the room was loaded from REST because it was not recovered. */
  loads: number;
  /** The messages as a client shows them, by the reducer of the contract. */
  view: RoomView;
  /** Pages that are being loaded, and the publications that wait for them. */
  loading: number;
  waiting: Publication[];
};

/** The number of the last `sent`. */
export function sentUpTo({ sent }: RoomState): number {
  return sent.at(-1)?.number ?? 0;
}

/** One socket of one person, with the official client. What is not recovered is loaded from REST, as a real client does. */
export class LoadSubscriber {
  readonly person: string;
  readonly rooms: readonly string[];
  readonly byRoom = new Map<string, RoomState>();
  /** Ids of messages that Matrix refused, or that were ended. */
  readonly failed: string[] = [];
  connects = 0;
  readonly #client: Centrifuge;
  readonly #read: (path: string) => Promise<{ status: number; body: unknown }>;
  #isClosed = false;

  constructor(
    environment: Pick<Environment, "socketUrl">,
    options: {
      person: string;
      token: () => string;
      rooms: readonly string[];
      read: (path: string) => Promise<{ status: number; body: unknown }>;
    },
  ) {
    this.person = options.person;
    this.rooms = options.rooms;
    this.#read = options.read;
    for (const room of options.rooms)
      this.byRoom.set(room, {
        ...{ received: [], position: null },
        ...{ breaks: 0, sent: [], wrongSents: 0, loads: 0 },
        ...{ view: EMPTY_VIEW, loading: 0, waiting: [] },
      });
    this.#client = new Centrifuge(environment.socketUrl, {
      websocket: WebSocket,
      getToken: () => Promise.resolve(options.token()),
      minReconnectDelay: 100,
      maxReconnectDelay: 1_000,
      timeout: 3_000,
    });
    this.#client.on("connected", () => this.connects++);
    this.#client.on("subscribed", (context) => {
      this.#subscribed(context);
    });
    this.#client.on("publication", ({ channel, offset, data }) => {
      this.#publication(channel, offset ?? null, data as Received);
    });
    this.#client.on("error", () => undefined);
  }

  /** Connects; resolves when every room is subscribed. */
  async open(): Promise<void> {
    this.#client.connect();
    const endMs = performance.now() + 60_000;
    while ([...this.byRoom.values()].some(({ position }) => position === null)) {
      if (performance.now() > endMs) throw new Error(`${this.person} was not subscribed in time`);
      await sleep(20);
    }
  }

  /** Disconnects as a closed laptop does: its positions stay. */
  pause(): void {
    this.#client.disconnect();
  }

  resume(): void {
    this.#client.connect();
  }

  close(): void {
    this.#isClosed = true;
    this.#client.disconnect();
  }

  #subscribed({ channel, wasRecovering, recovered, streamPosition }: ServerSubscribedContext): void {
    const state = this.byRoom.get(channel);
    if (!state || (wasRecovering && recovered)) return;
    const from = state.received.at(-1)?.number ?? 0;
    if (state.position !== null) state.loads++;
    state.position = streamPosition?.offset ?? 0;
    void this.#load(channel, state, { after: from, upTo: state.position });
  }

  /**
   * Loads the messages up to the position of a new subscription; later ones arrive as publications, and wait for the pages. The
   * earlier ones are loaded too: they may have changed meanwhile.
   */
  async #load(
    room: string,
    state: RoomState,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<void> {
    state.loading++;
    const loaded: Delivery[] = [];
    let from = 0;
    while (!this.#isClosed && from < upTo) {
      const { status, body } = await this.#read(
        `/v1/rooms/${room.replace(":", "/")}/messages?after=${String(from)}&limit=100`,
      );
      if (status !== 200) {
        await sleep(200);
        continue;
      }
      const page = body as Page;
      state.view = mergePage(state.view, page.items);
      const items = page.items.filter(({ number }) => number > after && number <= upTo);
      loaded.push(
        ...items.map(({ id, number }): Delivery => ({ id, number, atMs: performance.now(), how: "loaded" })),
      );
      from = page.hasMore ? (page.items.at(-1)?.number ?? upTo) : upTo;
    }
    const at = state.received.findIndex(({ number }) => number > upTo);
    state.received.splice(at === -1 ? state.received.length : at, 0, ...loaded);
    state.loading--;
    if (state.loading === 0) state.view = state.waiting.splice(0).reduce(reduce, state.view);
  }

  #publication(channel: string, offset: number | null, data: Received): void {
    const state = this.byRoom.get(channel);
    if (!state) return;
    if (offset === null) {
      if (data.type !== "sent" || data.number === undefined) return;
      const isWrong = data.number < sentUpTo(state) || data.number > (state.position ?? 0);
      if (isWrong) state.wrongSents++;
      state.sent.push({ number: data.number, atMs: performance.now() });
      return;
    }
    if (offset !== (state.position ?? 0) + 1) state.breaks++;
    state.position = offset;
    const event = parsePublication(data);
    if (event && state.loading > 0) state.waiting.push(event);
    else if (event) state.view = reduce(state.view, event);
    if (data.type === "message.failed" && data.message !== undefined) this.failed.push(data.message);
    // One that is deleted by now comes as its deletion, with what is left of it.
    const id = data.type === "message.created" ? data.id : data.stub === undefined ? undefined : data.message;
    if (id !== undefined)
      state.received.push({ number: offset, id, atMs: performance.now(), how: "published" });
  }
}
