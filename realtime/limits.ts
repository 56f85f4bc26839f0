/** Every limit of the tier. Times in milliseconds. */
export const LIMITS = {
  /** Sockets of one process. Further ones are refused with status 503. */
  connections: 20_000,
  /** Open sockets over all processes: of one user, the oldest ends; of one tenant; and of one address before they connect. */
  userSockets: 20,
  tenantSockets: 10_000,
  addressSockets: 100,
  /** How long the sockets of a process that was killed still count. */
  socketLeaseMs: 45_000,
  /** Channels of one connection. */
  channels: 512,
  /** Rooms that the server subscribes at a connect. */
  serverRooms: 256,
  /** Bytes of the server's subscriptions in a client's next connect command, which must fit in `frameBytes`. */
  connectBytes: 56 * 1024,
  /** Bytes of one message from a client. A longer one closes with 1009. */
  frameBytes: 64 * 1024,
  /** All bytes that wait for one socket: in our queue, in the library's buffers, and pongs. */
  queueBytes: 1024 * 1024,
  /** Publications and bytes that one connect recovers. */
  recoveredEntries: 1_000,
  recoveredBytes: 256 * 1024,
  /** Commands at once (a client sends its whole list of subscriptions in one message), and a second. */
  commandBurst: 600,
  commandsPerSecond: 30,
  /** Commands refused for good, at once and a second, before the client is closed for good. */
  errorBurst: 200,
  errorsPerSecond: 1,
  /** Commands that wait on one connection. */
  waitingCommands: 1_200,
  /** Connects that run at once in one process, those of one tenant, that wait, and how long they wait. */
  connectsAtWork: 200,
  connectsAtWorkOfTenant: 150,
  connectsWaiting: 5_000,
  connectWaitMs: 4_000,
  /** Users whose subscriptions are updated at once, that wait, and how long they wait. */
  reviewsAtWork: 8,
  reviewsWaiting: 20_000,
  reviewWaitMs: 30_000,
  /** How long a connection may take to send its connect command, and to be connected. */
  authenticateMs: 10_000,
  pingMs: 25_000,
  pongMs: 8_000,
  /** How long a connection may live on after its token has expired. */
  expiredMs: 25_000,
  /** How often deadlines are checked. */
  deadlineCheckMs: 500,
  /** How long a client may take to answer a close. */
  closeMs: 5_000,
  antiEntropyMs: 40_000,
  /** How often a heartbeat goes through Redis, and how long one may be missing. */
  heartbeatMs: 5_000,
  heartbeatSilenceMs: 20_000,
  /** The least time between two publications of who is present in a room, and in a room of more than 100 members. */
  presenceMs: 5_000,
  presenceInBigRoomMs: 30_000,
  /** How long the people of a process that was killed are still present. */
  presenceLeaseMs: 15_000,
  /** How long Redis may take to confirm a subscription. */
  subscribeMs: 2_000,
  /** Over which a shutdown spreads its closes. */
  drainMs: 5_000,
};
export type Limits = typeof LIMITS;

/** Of `queueBytes`, what is kept for the header of a message, one last pong and the close frame. */
export const RESERVED_BYTES = 256;

/** Rooms that a connection remembers to have opted out of. */
export const OPTED_OUT_CHANNELS = 1_024;
