import "./polyfill.ts";
import { setMaxListeners } from "node:events";
import loglevel from "loglevel";
import {
  ConnectionError,
  createClient,
  HTTPError,
  MatrixError,
  Method,
  type MatrixClient,
} from "matrix-js-sdk";
import { MatrixFailure, translateError } from "./failure.ts";
import { createBoundedFetch } from "./bounded-fetch.ts";

// All calls of a client listen to one signal: Node would warn of a leak.
setMaxListeners(1_000);
// The SDK logs request URLs, which hold Matrix ids. Our own code logs outcomes.
loglevel.getLogger("matrix").setLevel("silent");

export type MatrixCall = {
  method: "GET" | "PUT" | "POST" | "DELETE";
  /** After the prefix, with ids encoded. */
  path: string;
  prefix?: string;
  query?: Record<string, string | undefined>;
  body?: Record<string, unknown>;
  /** For the whole call, the body included. */
  timeoutMs?: number;
  signal?: AbortSignal;
};

/** Makes Matrix calls as one account. @throws MatrixFailure when a call does not succeed. */
export type Requester = (call: MatrixCall) => Promise<unknown>;

/**
 * Opens a connection to one homeserver with a token, or without one. The function that it returns creates requesters; each
 * adds its query to all its calls, such as the user that an Application Service acts as.
 */
export type Connect = (accessToken: string | null) => (query: Record<string, string>) => Requester;

const METHODS = { GET: Method.Get, PUT: Method.Put, POST: Method.Post, DELETE: Method.Delete } as const;
const DEFAULT_TIMEOUT_MS = 30_000;
/** The `errcode` of a call that timed out. */
export const NOT_IN_TIME = "no answer in time";
const CLIENT_PREFIX = "/_matrix/client/v3";

export type ClientOptions = { baseUrl: string; accessToken: string | null; maxResponseBytes?: number };

/**
 * An SDK client that is never started: it holds no rooms, and makes only the calls that it is asked for. Returns a function
 * that creates requesters; each adds `query` to all its calls, such as the user that an Application Service acts as.
 */
export function createConnection(options: ClientOptions): (query: Record<string, string>) => Requester {
  const client = createClient({
    baseUrl: options.baseUrl,
    ...(options.accessToken === null ? {} : { accessToken: options.accessToken }),
    fetchFn: createBoundedFetch({ maxResponseBytes: options.maxResponseBytes ?? 8 * 1_024 * 1_024 }),
    disableVoip: true,
  });
  return (query) => (call) => request(client, query, call);
}

/** Opens connections to one homeserver; each requester passes through `wrap`. */
export function connectTo(
  baseUrl: string,
  wrap: (request: Requester) => Requester = (request) => request,
): Connect {
  return (accessToken) => {
    const connection = createConnection({ baseUrl, accessToken });
    return (query) => wrap(connection(query));
  };
}

async function request(
  client: MatrixClient,
  query: Record<string, string>,
  call: MatrixCall,
): Promise<unknown> {
  const limit = AbortSignal.timeout(call.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const given = Object.fromEntries(
    Object.entries(call.query ?? {}).filter(([, value]) => value !== undefined),
  );
  try {
    return await client.http.authedRequest<unknown>(
      METHODS[call.method],
      call.path,
      { ...given, ...query },
      call.body,
      {
        prefix: call.prefix ?? CLIENT_PREFIX,
        abortSignal: call.signal ? AbortSignal.any([limit, call.signal]) : limit,
        // A browser's option, which the SDK's types require when the DOM types are absent.
        priority: undefined,
      },
    );
  } catch (error) {
    throw limit.aborted ? lost(NOT_IN_TIME, error) : toFailure(error);
  }
}

function toFailure(error: unknown): MatrixFailure {
  if (error instanceof HTTPError) {
    const httpStatus = error.httpStatus ?? 0;
    const errcode = error instanceof MatrixError ? (error.errcode ?? null) : null;
    return new MatrixFailure(translateError(httpStatus, errcode), {
      errcode: errcode ?? "no Matrix answer",
      httpStatus,
      retryAfterMs: readRetryAfterMs(error),
    });
  }
  if (error instanceof ConnectionError) return lost("no connection", error);
  return lost("no answer", error);
}

function lost(errcode: string, cause: unknown): MatrixFailure {
  return new MatrixFailure("transient", { errcode, httpStatus: null, cause });
}

function readRetryAfterMs(error: HTTPError): number | null {
  try {
    return error.getRetryAfterMs();
  } catch {
    return null;
  }
}
