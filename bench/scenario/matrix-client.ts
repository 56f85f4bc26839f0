import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { waitFor } from "../wait.ts";

const run = promisify(execFile);
const login = z.object({
  homeserverUrl: z.string(),
  matrixUserId: z.string(),
  deviceId: z.string(),
  accessToken: z.string(),
});
const sent = z.object({ event_id: z.string() });
const page = z.object({
  chunk: z.array(z.object({ event_id: z.string(), content: z.looseObject({ body: z.string().optional() }) })),
});
const joined = z.object({ joined_rooms: z.array(z.string()) });

/** A plain Matrix client: it uses no code of ours. Events are named by their ids. */
export type MatrixClient = {
  post: (roomName: string, text: string) => Promise<string>;
  edit: (roomName: string, eventId: string, text: string) => Promise<void>;
  react: (roomName: string, eventId: string, key: string) => Promise<void>;
  redact: (roomName: string, eventId: string, reason: string) => Promise<void>;
  /** The newest event of the room with this text, which was sent a moment ago. */
  find: (roomName: string, text: string) => Promise<string>;
};

/** Logs in as a user of the tenant `demo` with `npm run admin -- matrix login`. */
export async function openMatrixClient(user: string): Promise<MatrixClient> {
  const admin = fileURLToPath(new URL("../../workers/admin.js", import.meta.url));
  const { stdout } = await run(process.execPath, [
    admin,
    "matrix",
    "login",
    "--tenant",
    "demo",
    "--user",
    user,
    "--json",
  ]);
  const { homeserverUrl, accessToken } = login.parse(JSON.parse(stdout));
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${homeserverUrl}/_matrix/client/v3${path}`, {
      method,
      headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new Error(`the homeserver answered ${String(response.status)}`);
    return response.json();
  };
  let transactions = 0;
  const write = async (roomName: string, what: string, content: unknown): Promise<string> => {
    const room = await findRoom(call, roomName);
    const transaction = `demo-${String(Date.now())}-${String(transactions++)}`;
    const path = `/rooms/${encodeURIComponent(room)}/${what}/${transaction}`;
    return sent.parse(await call("PUT", path, content)).event_id;
  };
  const relate = (type: string, eventId: string, more: object) => ({
    "m.relates_to": { rel_type: type, event_id: eventId, ...more },
  });
  return {
    post: (roomName, text) => write(roomName, "send/m.room.message", { msgtype: "m.text", body: text }),
    edit: async (roomName, eventId, text) => {
      await write(roomName, "send/m.room.message", {
        ...{ msgtype: "m.text", body: `* ${text}`, "m.new_content": { msgtype: "m.text", body: text } },
        ...relate("m.replace", eventId, {}),
      });
    },
    react: async (roomName, eventId, key) => {
      await write(roomName, "send/m.reaction", relate("m.annotation", eventId, { key }));
    },
    redact: async (roomName, eventId, reason) => {
      await write(roomName, `redact/${encodeURIComponent(eventId)}`, { reason });
    },
    find: async (roomName, text) => findEvent(call, await findRoom(call, roomName), text),
  };
}

type MatrixCall = (method: string, path: string, body?: unknown) => Promise<unknown>;

async function findRoom(call: MatrixCall, name: string): Promise<string> {
  const { joined_rooms: rooms } = joined.parse(await call("GET", "/joined_rooms"));
  for (const room of rooms.reverse()) {
    const state = await call("GET", `/rooms/${encodeURIComponent(room)}/state/m.room.name`);
    if (z.object({ name: z.string() }).parse(state).name === name) return room;
  }
  throw new Error(`the Matrix client is in no room called ${name}`);
}

const LOOKED_AT = 50;
const FIND_LIMIT_MS = 30_000;

async function findEvent(call: MatrixCall, room: string, text: string): Promise<string> {
  let found: string | undefined;
  const path = `/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=${String(LOOKED_AT)}`;
  const isThere = async () => {
    const { chunk } = page.parse(await call("GET", path));
    found = chunk.find(({ content }) => content.body === text)?.event_id;
    return found !== undefined;
  };
  await waitFor(FIND_LIMIT_MS, "the message on Matrix", isThere, 200);
  return found ?? "";
}
