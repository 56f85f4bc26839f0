import { z } from "zod";
import {
  messageResource,
  roomResource,
  type MessageResource,
  type RoomResource,
} from "../shared/contract/resources.ts";

const ANSWER_LIMIT_MS = 40_000;
const RETRIES = 60;
const RETRY_PAUSE_MS = 500;

/** The REST API as one caller sees it. */
export type Rest = {
  putRoom: (path: string, body: Record<string, unknown>) => Promise<RoomResource>;
  room: (path: string) => Promise<RoomResource>;
  token: (user: string) => Promise<string>;
  putUser: (user: string, displayName: string) => Promise<void>;
  post: (room: string, text: string, clientId: string, more?: PostMore) => Promise<MessageResource>;
  /** A call about one message, with the path after it, such as `/reactions/👍`. */
  act: (method: "PATCH" | "PUT" | "DELETE", message: Acted, path: string, body?: unknown) => Promise<void>;
};

/** What a message may have beside its text. */
export type PostMore = { format?: "markdown"; mentions?: { users: string[] }; replyTo?: string };

/** A message, and its room's key. */
export type Acted = { room: string; id: string };

/** Calls with one credential. A call that was refused for a moment (5xx, 429, no connection) is repeated. */
export function createRest(apiUrl: string, credential: string): Rest {
  const call = (method: string, path: string, body?: unknown) =>
    callApi(apiUrl, credential, { method, path, body });
  return {
    putRoom: async (path, body) => roomResource.parse(await call("PUT", path, body)),
    room: async (path) => roomResource.parse(await call("GET", path)),
    putUser: async (user, displayName) => {
      await call("PUT", `/v1/users/${user}`, { displayName });
    },
    token: async (user) =>
      z
        .object({ token: z.string() })
        .parse(await call("POST", `/v1/users/${user}/tokens`, { expiresInS: 3_600 })).token,
    post: async (room, text, clientId, more = {}) =>
      messageResource.parse(await call("POST", messagesPath(room), { text, clientId, ...more })),
    act: async (method, { room, id }, path, body) => {
      await call(method, `${messagesPath(room)}/${id}${path}`, body);
    },
  };
}

function messagesPath(room: string): string {
  return `/v1/rooms/${room.replace(":", "/")}/messages`;
}

type Call = { method: string; path: string; body?: unknown };

async function callApi(apiUrl: string, credential: string, call: Call): Promise<unknown> {
  for (let attempt = 0; ; attempt++) {
    const response = await fetch(apiUrl + call.path, {
      method: call.method,
      headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    }).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
    if (response instanceof Response && response.ok) return response.json();
    const isFinal = response instanceof Response && response.status < 500 && response.status !== 429;
    if (isFinal || attempt >= RETRIES) {
      const why =
        response instanceof Response
          ? `${String(response.status)} ${await response.text()}`
          : response.message;
      throw new Error(`${call.method} ${call.path}: ${why}`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
  }
}
