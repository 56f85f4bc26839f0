import { randomUUID } from "node:crypto";
import { CLOSE, MESSAGE_TOO_BIG, type Close, type ReplyError, type Unsubscribe } from "../protocol/codes.ts";
import { encodeFrame, type Codec } from "../protocol/codec.ts";
import type { Command } from "../protocol/commands.ts";
import { PING, type Frame } from "../protocol/frames.ts";
import type { Session, Socket } from "../transport/transport.ts";
import type { Hub } from "../channels/hub.ts";
import type { Subscriber, Topic } from "../channels/topic.ts";
import type { Identity } from "../policy/policy.ts";
import { Bucket } from "./bucket.ts";
import { firstPingAtMs, type Life } from "./idle.ts";
import { OPTED_OUT_CHANNELS, RESERVED_BYTES, type Limits } from "../limits.ts";
import type { Flusher } from "./flusher.ts";
import { OutboundQueue } from "./outbound-queue.ts";

/** `failed`: its connect was refused. The client closes the socket; commands that follow are not read. */
export type ConnectionState = "new" | "connecting" | "ready" | "failed" | "closed";

/** A command that waits for a reply. */
export type Request = Exclude<Command, { method: "pong" | "send" }>;

export type ConnectionDeps = {
  hub: Hub<Connection>;
  flusher: Flusher;
  limits: Limits;
  /** Runs one or more commands at the front of the list, removes them from it, and never throws. */
  run: (connection: Connection, requests: Request[]) => Promise<void>;
  onClosed: (connection: Connection, close: Close, isOurs: boolean) => void;
  onRefused: (error: ReplyError) => void;
};

/**
 * `origin`: of the page that opened the socket; null where no browser did. `leaveAddress`: gives back the place that the
 * socket has at its address until it is connected, or gone.
 */
export type Client = { origin: string | null; codec: Codec; leaveAddress: () => void };

type Subscription = { topic: Topic; isServerSide: boolean };

/** One WebSocket of one user. Its commands run in order, one after the other. */
export class Connection implements Subscriber, Life, Session {
  readonly id = randomUUID();
  /** Only this client knows it. */
  readonly session = randomUUID();
  readonly openedAtMs = Date.now();
  lastReceivedAtMs = this.openedAtMs;
  nextPingAtMs: number;
  expiresAtMs: number | null = null;
  state: ConnectionState = "new";
  identity: Identity | null = null;
  /** The version of the rooms at the last reading of its rights; empty: the rights must be read again. */
  membershipVersion = "";
  /** Set when its rooms may have changed while it was connecting. */
  needsReview = false;
  readonly origin: string | null;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #optedOut = new Set<string>();
  readonly #leaveAddress: () => void;
  readonly #codec: Codec;
  readonly #deps: ConnectionDeps;
  readonly #socket: Socket;
  readonly #queue: OutboundQueue;
  readonly #commands: Bucket;
  readonly #errors: Bucket;
  readonly #requests: Request[] = [];
  #isRunning = false;
  #expectsPong = false;

  constructor(socket: Socket, { origin, codec, leaveAddress }: Client, deps: ConnectionDeps) {
    this.#socket = socket;
    this.#leaveAddress = leaveAddress;
    this.origin = origin;
    this.#codec = codec;
    this.#deps = deps;
    const { limits, flusher } = deps;
    this.nextPingAtMs = firstPingAtMs(this.openedAtMs, limits.pingMs, Math.random());
    this.#commands = new Bucket(limits.commandBurst, limits.commandsPerSecond, this.openedAtMs);
    this.#errors = new Bucket(limits.errorBurst, limits.errorsPerSecond, this.openedAtMs);
    this.#queue = new OutboundQueue(socket, {
      codec,
      flusher,
      maxBytes: limits.queueBytes - RESERVED_BYTES,
      onSlow: () => {
        this.close(CLOSE.slow);
      },
    });
    deps.hub.connections.add(this);
  }

  get userId(): string | null {
    return this.identity?.userRef.id ?? null;
  }

  /** Whether the token that it last showed was signed at a time or later. */
  hasTokenSince(validFromMs: number): boolean {
    return this.identity !== null && this.identity.stamp.issuedAtMs >= validFromMs;
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

  receive(message: Buffer, isBinary: boolean): void {
    if (this.isClosed) return;
    const { limits } = this.#deps;
    const nowMs = Date.now();
    this.lastReceivedAtMs = nowMs;
    if (message.byteLength > limits.frameBytes) {
      this.close(MESSAGE_TOO_BIG);
      return;
    }
    if (isBinary !== this.#codec.isBinary) {
      this.close(CLOSE.inappropriateProtocol);
      return;
    }
    const commands = this.#codec.decode(message);
    if (!commands) {
      this.close(CLOSE.badRequest);
      return;
    }
    for (const command of commands) this.#accept(command, nowMs);
    if (this.#requests.length > limits.waitingCommands) this.close(CLOSE.tooManyRequests);
    else void this.#work();
  }

  /** A ping or a pong of the WebSocket protocol counts as a command. */
  receiveControl(): boolean {
    if (this.isClosed) return false;
    const nowMs = Date.now();
    this.lastReceivedAtMs = nowMs;
    if (!this.#commands.take(nowMs)) this.close(CLOSE.tooManyRequests);
    else if (this.#queue.isOverLimit) this.close(CLOSE.slow);
    return !this.isClosed;
  }

  /** The client has shown a valid token: from now on it counts for its user, and not at its address. */
  verified(): void {
    this.#leaveAddress();
  }

  /** The socket has a user now. */
  connected(): void {
    this.state = "ready";
  }

  gone(): void {
    this.#leaveAddress();
  }

  #accept(command: Command, nowMs: number): void {
    if (command.method === "send") this.close(CLOSE.notAvailable);
    else if (command.method !== "pong") {
      if (this.#commands.take(nowMs)) this.#requests.push(command);
      else this.close(CLOSE.tooManyRequests);
    } else if (this.#expectsPong) this.#expectsPong = false;
    else this.close(CLOSE.badRequest);
  }

  async #work(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#requests.length > 0 && !this.isClosed) await this.#deps.run(this, this.#requests);
    this.#isRunning = false;
  }

  send(frame: Frame): void {
    if (!this.isClosed) this.#queue.push(encodeFrame(this.#codec, frame));
  }

  /**
   * Refuses a command. A client with too many refusals is closed for good. Temporary errors do not count: they are outages
   * of ours. A client that repeats those without a pause meets the limit of commands, and may come back.
   */
  refuse(id: number, error: ReplyError): void {
    this.#deps.onRefused(error);
    this.send({ kind: "error", id, error });
    if (!error.temporary && !this.#errors.take(Date.now())) this.close(CLOSE.tooManyErrors);
  }

  ping(nowMs: number): void {
    this.nextPingAtMs = nowMs + this.#deps.limits.pingMs;
    this.#expectsPong = true;
    this.send(PING);
  }

  attach(topic: Topic, isServerSide: boolean): void {
    this.#subscriptions.set(topic.ref.channel, { topic, isServerSide });
    this.#optedOut.delete(topic.ref.channel);
    topic.subscribers.add(this);
    if (this.identity) this.#deps.hub.noteSubscriber(topic, this.identity.userRef);
  }

  detach(topic: Topic, why: Unsubscribe | null): void {
    this.#subscriptions.delete(topic.ref.channel);
    topic.subscribers.delete(this);
    if (this.identity) this.#deps.hub.noteSubscriber(topic, this.identity.userRef);
    // The user may be added again before the next check: it reads the rights whatever their version.
    this.membershipVersion = "";
    if (why) this.send({ kind: "unsubscribe", channel: topic.ref.channel, why });
    this.#deps.hub.release(topic);
  }

  /** The client has unsubscribed: the server does not subscribe it to this room again. */
  optOut(channel: string): void {
    this.#optedOut.add(channel);
    const [oldest] = this.#optedOut;
    if (oldest !== undefined && this.#optedOut.size > OPTED_OUT_CHANNELS) this.#optedOut.delete(oldest);
  }

  hasOptedOut(channel: string): boolean {
    return this.#optedOut.has(channel);
  }

  isServerSide(topic: Topic): boolean {
    return this.#subscriptions.get(topic.ref.channel)?.isServerSide ?? false;
  }

  /** Sends what waits, unless the client is too slow for it, then closes. */
  close(close: Close): void {
    if (this.isClosed) return;
    if (close !== CLOSE.slow) this.#queue.flush();
    const isUnknownFlood = close === CLOSE.tooManyRequests && this.state === "new";
    // The flush closes a client that is too slow.
    if (!this.#shut()) return;
    this.#deps.onClosed(this, close, true);
    // No client of the protocol does that before it connects: it gets no time to read a close frame.
    if (isUnknownFlood) this.#socket.terminate();
    else this.#socket.close(close.code, close.reason);
  }

  closed(code: number): void {
    if (this.#shut()) this.#deps.onClosed(this, { code, reason: "" }, false);
  }

  /** Returns false when it was shut before. */
  #shut(): boolean {
    if (this.isClosed) return false;
    this.state = "closed";
    this.#queue.shut();
    this.#requests.length = 0;
    const { hub } = this.#deps;
    hub.connections.delete(this);
    for (const { topic } of [...this.#subscriptions.values()]) this.detach(topic, null);
    if (this.identity) hub.removeUser(this, this.identity.userRef);
    return true;
  }
}
