/** Every limit of the tier. Times in milliseconds. */
export const LIMITS = {
  /** Sockets of one process; more are answered 503. */
  connections: 20_000,
  /** Channels of one connection. */
  channels: 512,
  /** Rooms subscribed by the server at a connect. */
  serverRooms: 256,
  /** Bytes that the server's subscriptions may fill in a client's next connect command, under `frameBytes`. */
  connectBytes: 56 * 1024,
  /** Bytes of one frame from a client. */
  frameBytes: 64 * 1024,
  /** Bytes waiting for one socket, in our queue and in its buffers. */
  queueBytes: 1024 * 1024,
  /** Bytes that the socket library may buffer for a socket: far above what is ever given to it. */
  socketBytes: 8 * 1024 * 1024,
  /** Publications and bytes recovered by one connect. */
  recoveredEntries: 300,
  recoveredBytes: 256 * 1024,
  /** Commands at once (a client's whole list of subscriptions comes in one frame), and a second. */
  commandBurst: 600,
  commandsPerSecond: 30,
  /** Commands refused for good, at once and a second, before the client is sent away. */
  errorBurst: 200,
  errorsPerSecond: 1,
  /** Commands that wait for their turn on one connection. */
  waitingCommands: 1_200,
  /** Connects at work in one process, and waiting for that. */
  connectsAtWork: 200,
  connectsWaiting: 5_000,
  connectWaitMs: 4_000,
  /** Users whose rooms are brought in line at once, and waiting for that. */
  ordersAtWork: 8,
  ordersWaiting: 20_000,
  orderWaitMs: 30_000,
  /** Until a connection must have asked to be let in, and been answered. */
  authenticateMs: 10_000,
  pingMs: 25_000,
  pongMs: 8_000,
  /** How long a lapsed token is borne. */
  expiredMs: 25_000,
  /** How often deadlines are looked at. */
  deadlineCheckMs: 500,
  positionCheckMs: 40_000,
  /** How often Redis is asked for a sign of life, and how long it may owe one. */
  probeMs: 5_000,
  probeSilenceMs: 20_000,
  /** Until Redis must have confirmed a subscription. */
  subscribeMs: 2_000,
  /** Over which a shutdown spreads its closes. */
  drainMs: 5_000,
};
export type Limits = typeof LIMITS;

/** A token bucket: `burst` at once, then `perSecond`. */
export class Bucket {
  #tokens: number;
  #atMs: number;
  readonly #burst: number;
  readonly #perSecond: number;

  constructor(burst: number, perSecond: number, nowMs: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** False when there is none left. */
  take(nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
