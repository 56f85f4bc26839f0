import type { HealthReply } from "../../shared/platform/http/health.ts";
import type { ReadNetwork } from "../quotas/client-networks.ts";
import type { Payload } from "../protocol/frames.ts";

/** What a session needs of its socket. */
export type Socket = {
  /** Writes one message. */
  write(payload: Payload): void;
  /** Bytes that were written and that the client has not taken yet. */
  bufferedBytes(): number;
  /** Sends a close frame behind what is buffered. Ends the socket after `closeMs`, whatever the client does. */
  close(code: number, reason: string): void;
  /** Ends the socket at once, without a close frame. */
  terminate(): void;
};

/** What a transport reports of a socket. */
export type Session = {
  /** A message of the client. Its bytes are only valid during the call. */
  receive(message: Buffer, isBinary: boolean): void;
  /** The client has sent a ping or a pong of the WebSocket protocol. Returns whether a ping may be answered. */
  receiveControl(): boolean;
  /** The socket has ended, or was closed by `close`. */
  closed(code: number): void;
  /** Nothing of the socket is left in this process. Follows `closed`. */
  gone(): void;
};

/** An answer to a plain HTTP request. */
export type Answer = HealthReply;

export type UpgradeRefusal = "origin" | "protocol" | "full" | "address";

/** What a transport knows of a client. `subprotocol` is null for a client that named none; `origin` where no browser opened the socket. */
export type UpgradedClient = { origin: string | null; subprotocol: string | null; network: string };

export type TransportOptions = {
  /** 0 takes a free one. */
  port: number;
  /** Absent: every address of the machine. */
  host?: string | undefined;
  /** Whether other processes may listen on the same port and share its connections. */
  isShared: boolean;
  limits: { frameBytes: number; queueBytes: number; closeMs: number };
  /** Sub-protocols that a client may ask for, the preferred one first. */
  subprotocols: readonly string[];
  /** Whether pages of an origin may open a socket. The token decides later for which tenant. */
  isKnownOrigin: (origin: string) => boolean;
  /** Whether there is no room for another socket. */
  isFull: () => boolean;
  /** Names the network of a client, which may be behind proxies. */
  readNetwork: ReadNetwork;
  /** Whether a network has too many sockets that no user has connected. */
  isNetworkFull: (network: string) => boolean;
  accept: (socket: Socket, client: UpgradedClient) => Session;
  onRefused: (reason: UpgradeRefusal) => void;
  /** Answers a plain GET request; null for an unknown path. */
  answer: (path: string) => Promise<Answer> | null;
};

export type TransportName = "uws" | "ws";

/** A server of sockets that listens. */
export type Transport = {
  name: TransportName;
  port: number;
  /** Sockets that were closed here and have not ended yet. */
  closingSockets: () => number;
  stopAccepting: () => void;
  /** Ends every socket that is left. */
  close: () => void;
};

/** Opens a transport. @throws when the port is taken. */
export type OpenTransport = (options: TransportOptions) => Promise<Transport>;

export const SOCKET_PATH = "/connection/websocket";

/**
 * With uws a longer message ends the socket without a close code: the library reads its length and ends the socket, and a
 * larger limit would let clients without a token fill more memory. Between `frameBytes` and this, the session closes with 1009.
 */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
