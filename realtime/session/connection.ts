import { randomUUID } from "node:crypto";
import { CLOSE, type Close, type ReplyError, type Unsubscribe } from "../protocol/codes.ts";
import type { Hub } from "../channels/hub.ts";
import { firstPingAtMs, type Life } from "./idle.ts";
import { Bucket, type Limits } from "../limits.ts";
import { OutboundQueue, type Flusher, type Socket } from "./outbound-queue.ts";
import type { Identity } from "../policy/policy.ts";
import { formatError, formatUnsubscribe, PING_FRAME, type Command, type Frame } from "../protocol/json.ts";
import type { Subscriber, Topic } from "../channels/topic.ts";

/** `failed`: its connect was refused; the client leaves by itself, and what it had sent along is not read. */
export type ConnectionState = "new" | "connecting" | "ready" | "failed" | "closed";

export type Request = Exclude<Command, { method: "pong" | "send" }>;

/** The text codec of a connection: frames in, commands out. */
export type Codec = { parseFrame: (text: string) => Command[] | null };

export type ConnectionDeps = {
  hub: Hub<Connection>;
  flusher: Flusher;
  limits: Limits;
  codec: Codec;
  /** Runs the commands at the front of the list, takes them away, and never throws. */
  run: (connection: Connection, waiting: Request[]) => Promise<void>;
  onClosed: (connection: Connection, close: Close, isOurs: boolean) => void;
  onRefused: (error: ReplyError) => void;
};

type Subscription = { topic: Topic; isServerSide: boolean };

/** One WebSocket of one user. Its commands run in order, one after the other. */
export class Connection implements Subscriber, Life {
  readonly id = randomUUID();
  /** Known to the client alone. */
  readonly session = randomUUID();
  readonly openedAtMs = Date.now();
  lastHeardAtMs = this.openedAtMs;
  nextPingAtMs: number;
  expiresAtMs: number | null = null;
  state: ConnectionState = "new";
  identity: Identity | null = null;
  /** Of the rooms that its rights were last read with; empty: read them again. */
  membershipVersion = "";
  /** Set when its rooms may have changed while it was being let in. */
  isInDoubt = false;
  /** Rooms that the client gave up: the server does not subscribe them again. */
  readonly optedOut = new Set<string>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #deps: ConnectionDeps;
  /** Of the page that opened it; null when no browser did. */
  readonly origin: string | null;
  readonly #socket: Socket;
  readonly #queue: OutboundQueue;
  readonly #commands: Bucket;
  readonly #errors: Bucket;
  readonly #waiting: Request[] = [];
  #isRunning = false;
  #owesPong = false;

  constructor(socket: Socket, origin: string | null, deps: ConnectionDeps) {
    this.#socket = socket;
    this.origin = origin;
    this.#deps = deps;
    const { limits } = deps;
    this.nextPingAtMs = firstPingAtMs(this.openedAtMs, limits.pingMs, Math.random());
    this.#commands = new Bucket(limits.commandBurst, limits.commandsPerSecond, this.openedAtMs);
    this.#errors = new Bucket(limits.errorBurst, limits.errorsPerSecond, this.openedAtMs);
    this.#queue = new OutboundQueue(socket, deps.flusher, {
      maxBytes: limits.queueBytes,
      onSlow: () => {
        this.close(CLOSE.slow);
      },
    });
    deps.hub.connections.add(this);
  }

  get userId(): string | null {
    return this.identity?.userRef.id ?? null;
  }

  get isClosed(): boolean {
    return this.state === "closed";
  }

  get hasAsked(): boolean {
    return this.state !== "new";
  }

  get subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  get queueBytes(): number {
    return this.#queue.bytes;
  }

  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.#subscriptions;
  }

  /** What the client sent: any of it is a sign of life. */
  receive(text: string): void {
    if (this.isClosed) return;
    const nowMs = Date.now();
    this.lastHeardAtMs = nowMs;
    const commands = this.#deps.codec.parseFrame(text);
    if (!commands) {
      this.close(CLOSE.badRequest);
      return;
    }
    for (const command of commands) this.#accept(command, nowMs);
    if (this.#waiting.length > this.#deps.limits.waitingCommands) this.close(CLOSE.tooManyRequests);
    else void this.#work();
  }

  #accept(command: Command, nowMs: number): void {
    if (command.method === "send") this.close(CLOSE.notAvailable);
    else if (command.method !== "pong") {
      if (this.#commands.take(nowMs)) this.#waiting.push(command);
      else this.close(CLOSE.tooManyRequests);
    } else if (this.#owesPong) this.#owesPong = false;
    else this.close(CLOSE.badRequest);
  }

  async #work(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#waiting.length > 0 && !this.isClosed) await this.#deps.run(this, this.#waiting);
    this.#isRunning = false;
  }

  send(frame: Frame): void {
    this.#queue.push(frame);
  }

  /**
   * Refuses a command; a client that asks for too much that it may not have is sent away. What it is invited to ask again
   * does not count: an outage of ours would send it away for ever. Who asks again at once meets the limit of commands,
   * which lets it come back.
   */
  refuse(id: number, error: ReplyError): void {
    this.#deps.onRefused(error);
    this.send(formatError(id, error));
    if (!error.temporary && !this.#errors.take(Date.now())) this.close(CLOSE.tooManyErrors);
  }

  ping(nowMs: number): void {
    this.nextPingAtMs = nowMs + this.#deps.limits.pingMs;
    this.#owesPong = true;
    this.send(PING_FRAME);
  }

  attach(topic: Topic, isServerSide: boolean): void {
    this.#subscriptions.set(topic.ref.channel, { topic, isServerSide });
    this.optedOut.delete(topic.ref.channel);
    topic.subscribers.add(this);
  }

  detach(topic: Topic, why: Unsubscribe | null): void {
    this.#subscriptions.delete(topic.ref.channel);
    topic.subscribers.delete(this);
    // A removal may be undone before it is noticed: the next check looks at what there is.
    this.membershipVersion = "";
    if (why) this.send(formatUnsubscribe(topic.ref.channel, why));
    this.#deps.hub.release(topic);
  }

  isServerSide(topic: Topic): boolean {
    return this.#subscriptions.get(topic.ref.channel)?.isServerSide ?? false;
  }

  /** Sends what waits, unless the client is too slow for it, then closes. */
  close(close: Close): void {
    if (this.isClosed) return;
    if (close !== CLOSE.slow) this.#queue.flush();
    // Flushing may have found the client too slow and closed it.
    if (!this.#shut()) return;
    this.#deps.onClosed(this, close, true);
    this.#socket.end(close.code, close.reason);
  }

  /** The socket is gone. */
  gone(code: number): void {
    if (this.#shut()) this.#deps.onClosed(this, { code, reason: "" }, false);
  }

  #shut(): boolean {
    if (this.isClosed) return false;
    this.state = "closed";
    this.#queue.shut();
    this.#waiting.length = 0;
    const { hub } = this.#deps;
    hub.connections.delete(this);
    for (const { topic } of [...this.#subscriptions.values()]) this.detach(topic, null);
    if (this.identity) hub.forget(this, this.identity.userRef);
    return true;
  }
}
