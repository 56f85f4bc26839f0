import { Centrifuge, type ServerSubscribedContext } from "centrifuge";
import { WebSocket } from "ws";
import { setTimeout as sleep } from "node:timers/promises";
import type { Environment } from "./environment.ts";

type Delivery = { number: number; id: string; atMs: number; how: "heard" | "loaded" };
type Page = { items: { id: string; number: number }[]; hasMore: boolean };

/** What one socket knows of one room. */
export type Knowledge = {
  told: Delivery[];
  /** The number after which publications count on, one by one; null before the first subscription. */
  position: number | null;
  /** Numbers that came where another one had to. */
  breaks: number;
  /** How often the room had to be loaded from REST instead of recovered. */
  loads: number;
};

/** One socket of one person, by the official client, who loads from REST what cannot be recovered, as people's do. */
export class LoadSubscriber {
  readonly person: string;
  readonly rooms: readonly string[];
  readonly known = new Map<string, Knowledge>();
  /** Ids of messages shown before Matrix had them, with the time. */
  readonly pending = new Map<string, number>();
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
    for (const room of options.rooms) this.known.set(room, { told: [], position: null, breaks: 0, loads: 0 });
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
      this.#publication(channel, offset ?? null, data as { type: string; id?: string });
    });
    this.#client.on("error", () => undefined);
  }

  /** Connects; resolves when every room is subscribed. */
  async open(): Promise<void> {
    this.#client.connect();
    const endMs = performance.now() + 60_000;
    while ([...this.known.values()].some(({ position }) => position === null)) {
      if (performance.now() > endMs) throw new Error(`${this.person} could not listen`);
      await sleep(20);
    }
  }

  /** Goes away as a closed laptop does: with its positions kept. */
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
    const known = this.known.get(channel);
    if (!known || (wasRecovering && recovered)) return;
    const from = known.told.at(-1)?.number ?? 0;
    if (known.position !== null) known.loads++;
    known.position = streamPosition?.offset ?? 0;
    void this.#load(channel, known, { after: from, upTo: known.position });
  }

  /** Messages that a new subscription does not bring; those after its position come as publications. */
  async #load(
    room: string,
    known: Knowledge,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<void> {
    const loaded: Delivery[] = [];
    let from = after;
    while (!this.#isClosed && from < upTo) {
      const { status, body } = await this.#read(
        `/v1/rooms/${room.replace(":", "/")}/messages?after=${String(from)}&limit=100`,
      );
      if (status !== 200) {
        await sleep(200);
        continue;
      }
      const page = body as Page;
      const items = page.items.filter(({ number }) => number <= upTo);
      loaded.push(
        ...items.map(({ id, number }): Delivery => ({ id, number, atMs: performance.now(), how: "loaded" })),
      );
      from = page.hasMore ? (page.items.at(-1)?.number ?? upTo) : upTo;
    }
    const at = known.told.findIndex(({ number }) => number > upTo);
    known.told.splice(at === -1 ? known.told.length : at, 0, ...loaded);
  }

  #publication(channel: string, offset: number | null, data: { type: string; id?: string }): void {
    const known = this.known.get(channel);
    if (!known) return;
    if (offset === null) {
      if (data.type === "message.pending" && data.id !== undefined && !this.pending.has(data.id))
        this.pending.set(data.id, performance.now());
      if (data.type === "message.failed" && data.id !== undefined) this.failed.push(data.id);
      return;
    }
    if (offset !== (known.position ?? 0) + 1) known.breaks++;
    known.position = offset;
    if (data.type === "message.created" && data.id !== undefined) {
      known.told.push({ number: offset, id: data.id, atMs: performance.now(), how: "heard" });
    }
  }
}
